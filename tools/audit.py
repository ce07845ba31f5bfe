"""Ask whether an installed package has a known vulnerability: `python tools/audit.py [--report]`.

pip-audit asks PyPI's advisories. Where those cannot be reached this says so and ends with 0: being offline is no
finding. A finding ends with 1, with `--report` (for a job that must not fail for it) with 0.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

COMMAND = (
    "-m",
    "pip_audit",
    "--local",
    "--skip-editable",
    "--progress-spinner",
    "off",
    "--timeout",
    "10",
    "-f",
    "json",
)

NO_ANSWER = "could not be audited"
"""What pip-audit says of a package that the index it asked does not know; it counts that as no finding."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings, or why there are none. The exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true", help="print findings and end with 0")
    report = parser.parse_args(argv).report
    ran = subprocess.run([sys.executable, *COMMAND], capture_output=True, text=True)
    lines, found = judge(ran.stdout, ran.stderr)
    print("\n".join(lines))
    return int(found and not report)


def judge(output: str, errors: str) -> tuple[list[str], bool]:
    """What to print for an answer of pip-audit, and whether it is a finding."""
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        said = errors.strip().splitlines() or ["it said nothing"]
        return [f"audit: the advisories could not be asked ({said[-1][:200]})"], False
    asked = [package for package in packages if NO_ANSWER not in package.get("skip_reason", "")]
    findings = [
        f"{package['name']} {package['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
        for package in asked
        for found in package.get("vulns", ())
    ]
    # An index that knows none of the packages is a mirror without advisories, and its silence is no all-clear.
    if not asked:
        return [f"audit: the advisories could not be asked (the index knows none of {len(packages)} packages)"], False
    return [*findings, f"audit: {len(findings)} findings in {len(asked)} of {len(packages)} packages"], bool(findings)


if __name__ == "__main__":
    sys.exit(main())
