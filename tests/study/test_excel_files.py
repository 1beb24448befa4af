"""Workbooks: one sheet is read, and which one is never guessed."""

import zipfile
from xml.sax.saxutils import escape

import pytest

from dropscope.errors import BadTable
from dropscope.study.table import read_table

RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def cell(value):
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return "<c/>" if value is None else f"<c><v>{value}</v></c>"


def write_workbook(path, **sheets):
    """Write the least that Excel's format asks for."""
    numbers = dict(enumerate(sheets, start=1))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/></Types>',
        )
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r1" Type="{RELATIONS}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        named = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="s{n}"/>' for n, name in numbers.items())
        file.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets>{named}</sheets></workbook>'
        )
        linked = "".join(
            f'<Relationship Id="s{n}" Type="{RELATIONS}/worksheet" Target="worksheets/{n}.xml"/>' for n in numbers
        )
        file.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{PACKAGE}/relationships">{linked}</Relationships>'
        )
        for n, name in numbers.items():
            rows = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in sheets[name])
            file.writestr(
                f"xl/worksheets/{n}.xml", f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'
            )
    return path


ONE = [("a", "c"), (1.5, "x"), (None, "y"), (3, "x & z")]
TWO = [("b",), (1,), (2,)]


def test_the_only_sheet_with_rows_is_read(tmp_path):
    path = write_workbook(tmp_path / "t.xlsx", Empty=[], Data=ONE)
    assert read_table(path).to_dict(as_series=False) == {"a": [1.5, None, 3.0], "c": ["x", "y", "x & z"]}


def test_of_several_sheets_one_must_be_named(tmp_path):
    path = write_workbook(tmp_path / "t.xlsx", One=ONE, Two=TWO)
    with pytest.raises(BadTable, match=r"must have one sheet with rows, got 2 \(One, Two\): .* `t.xlsx:One`"):
        read_table(path)
    assert read_table(f"{path}:Two")["b"].to_list() == [1, 2]
    with pytest.raises(BadTable, match="has no sheet `Twoo` with rows: did you mean `Two`"):
        read_table(f"{path}:Twoo")


def test_a_workbook_without_rows_is_refused(tmp_path):
    with pytest.raises(BadTable, match="must have one sheet with rows, got 0"):
        read_table(write_workbook(tmp_path / "t.xlsx", Empty=[]))
    with pytest.raises(BadTable, match="there is no such file"):
        read_table(tmp_path / "none.xlsx:Data")


def test_unnamed_columns_are_refused(tmp_path):
    with pytest.raises(BadTable, match="has a column without a name"):
        read_table(write_workbook(tmp_path / "t.xlsx", Data=[("a", None), (1, 2)]))


def test_repeated_columns_are_refused(tmp_path):
    with pytest.raises(BadTable, match="more than one column named `a`"):
        read_table(write_workbook(tmp_path / "t.xlsx", Data=[("a", "b", "a"), (1, 2, 3)]))
