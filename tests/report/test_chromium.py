"""The page as a browser shows it: drawn without a complaint, on a desk and on a phone, by day and by night."""

import html
import json
import re
import shutil
import subprocess

import pytest
import spectra
import synthetic

from dropscope.report import write_report, write_spectrum

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no `chromium` on the path")

QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --v=0 --virtual-time-budget=9000 --dump-dom "
    "--window-size=1300,900"
).split()
PROBE = """<script>
addEventListener("load", () => setTimeout(() => parent.postMessage({
  width: innerWidth,
  scroll: document.documentElement.scrollWidth,
  plots: [...document.querySelectorAll(".plot")].map(box => box.querySelectorAll(".trace, .point").length),
  titles: [...document.querySelectorAll(".xtitle, .ytitle")].map(title => title.textContent),
  ticks: [...document.querySelectorAll(".xtick, .ytick")].map(tick => tick.textContent),
  ink: getComputedStyle(document.querySelector(".xtitle")).fill,
  page: getComputedStyle(document.body).backgroundColor,
}, "*"), 400));
</script></body>"""
OUTER = """<!doctype html><title></title><pre></pre><script>
const seen = [];
addEventListener("message", event => {
  seen.push(event.data);
  if (seen.length == 2) document.querySelector("pre").textContent = JSON.stringify(seen);
});
</script>
<iframe src="page.html" width="390" height="800"></iframe>
<iframe src="page.html" width="1280" height="800"></iframe>
"""


def look(folder, profile, *flags, name="report.html"):
    """Open a page in frames of both widths; what the frames measured, by width, and what the console said."""
    page = (folder / name).read_text().replace("</body>", PROBE)
    (folder / "page.html").write_text(page)
    (folder / "outer.html").write_text(OUTER)
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", *flags, (folder / "outer.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True)
    [measured] = re.findall(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)[:1]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return {one["width"]: one for one in json.loads(html.unescape(measured))}, console


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(synthetic.make(target=synthetic.NASTY), folder)
    return folder


@pytest.fixture(scope="module")
def by_day(folder, tmp_path_factory):
    return look(folder, tmp_path_factory.mktemp("profile"), "--blink-settings=preferredColorScheme=1")


@pytest.fixture(scope="module")
def by_night(folder, tmp_path_factory):
    return look(folder, tmp_path_factory.mktemp("profile"), "--blink-settings=preferredColorScheme=0")


def test_the_console_stays_silent(by_day, by_night):
    assert by_day[1] == by_night[1] == []


def test_no_panel_is_empty(by_day):
    for measured in by_day[0].values():
        assert len(measured["plots"]) > 10
        assert min(measured["plots"]) > 0


def test_the_page_never_scrolls_sideways(by_day):
    assert sorted(by_day[0]) == [390, 1280]
    for width, measured in by_day[0].items():
        assert measured["scroll"] <= width


def test_axis_titles_show_a_column_name_as_it_is(by_day):
    titles = by_day[0][1280]["titles"]
    assert all(titles)
    assert f"RMSE (units of {synthetic.NASTY[:17]}…)" in titles


def test_page_and_figures_follow_the_theme(by_day, by_night):
    day, night = by_day[0][1280], by_night[0][1280]
    assert (day["ink"], day["page"]) == ("rgb(27, 31, 36)", "rgb(245, 246, 248)")
    assert (night["ink"], night["page"]) == ("rgb(230, 233, 236)", "rgb(18, 22, 25)")


def test_the_page_of_a_spectrum_is_drawn_without_a_complaint(tmp_path):
    others = [("trees", spectra.spectrum())]
    write_spectrum(spectra.half_known(), tmp_path / "s", terms=spectra.terms(), others=others, columns=spectra.NAMES)
    measured, console = look(tmp_path / "s", tmp_path / "profile", name="spectrum.html")
    assert console == []
    assert spectra.NAMES[3] in measured[1280]["ticks"]
    for width in (390, 1280):
        assert len(measured[width]["plots"]) == 7
        assert min(measured[width]["plots"]) > 0
        assert measured[width]["scroll"] <= width
