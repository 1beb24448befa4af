"""Claims of the literature on dropout, measured: on interactions (A) and on prediction with masks (A13, B, D, E).

Those on interactions are of Lengerich, Xing & Caruana, "Dropout as a regularizer of interaction effects" (2022). Every
claim is judged by a rule that its code states before it measures. Prints, for each, what its source says, the rule,
what was found, and the verdict; writes benchmarks/results/claims.json, from which figures can be drawn.

    python benchmarks/claims.py                  # all, about half an hour on one core
    python benchmarks/claims.py --only A1 A4     # some, into claims-A1-A4.json
    python benchmarks/claims.py --only E4 --data FOLDER     # with MNIST and CIFAR-10 from a folder
"""

import argparse
import os
import re
import time

import claims_dependence  # noqa: F401 (importing registers the claims)
import claims_distillation  # noqa: F401
import claims_gradients  # noqa: F401
import claims_masks  # noqa: F401
import claims_noise  # noqa: F401
import claims_prediction  # noqa: F401
import claims_rates  # noqa: F401
import claims_uncertainty  # noqa: F401
import torch
from claims_record import CLAIMS
from timing import machine, save


def numbered(name: str) -> tuple[str, int, str]:
    """Sort A2 before A10, and A10 before B1."""
    return name[0], int(re.sub(r"\D", "", name)), name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(CLAIMS), metavar="CLAIM", help="measure only these")
    parser.add_argument("--data", metavar="FOLDER", help="of image sets, see claims_networks; or DROPSCOPE_DATA")
    arguments = parser.parse_args()
    only = arguments.only
    if arguments.data:
        os.environ["DROPSCOPE_DATA"] = arguments.data
    torch.set_num_threads(1)
    print(machine())

    rows = []
    for name, claim in sorted(CLAIMS.items(), key=lambda item: numbered(item[0])):
        if only and name not in only:
            continue
        print(f"\n{name}  {claim.says}\n  rule      {claim.rule}", flush=True)
        start = time.process_time()
        found = claim.measure()
        seconds = time.process_time() - start

        print(*(f"  measured  {line}" for line in found.measured), sep="\n")
        print(f"  verdict   {found.verdict}  ({seconds:.1f} s of processor time)", flush=True)
        rows.append(
            {
                "claim": name,
                "says": claim.says,
                "rule": claim.rule,
                "verdict": found.verdict,
                "measured": found.measured,
                "seconds": seconds,
                "data": found.data,
            }
        )

    print("\nwritten:", save("-".join(["claims", *(only or [])]), rows))


if __name__ == "__main__":
    main()
