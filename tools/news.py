"""Put the fragments of docs/newsfragments at the top of CHANGELOG.md, under a new version.

Each change has one fragment, a file named SOMETHING.KIND.md, where KIND is feature, change or
fix; its text becomes one list entry.  ``tools/news.py --check`` only checks all fragments.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KINDS = {"feature": "New", "change": "Changed", "fix": "Mended"}
MARK = "<!-- new versions go here -->\n"


def fragments(folder: Path) -> dict[str, list[Path]]:
    """The fragment files by kind, each kind sorted by name; ValueError names a bad one."""
    found: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for path in sorted(folder.glob("*")):
        if path.name == "README.md":
            continue
        parts = path.name.split(".")
        if len(parts) != 3 or parts[1] not in KINDS or parts[2] != "md":
            raise ValueError(f"{path.name}: name it SOMETHING.KIND.md; KIND: {', '.join(KINDS)}")
        if not path.read_text(encoding="utf-8").strip():
            raise ValueError(f"{path.name} is empty; write one sentence or more")
        found[parts[1]].append(path)
    return found


def section(version: str, day: str, found: dict[str, list[Path]]) -> str:
    """The part of the change log for one version."""
    lines = [f"## {version} ({day})", ""]
    for kind, title in KINDS.items():
        if found[kind]:
            texts = [path.read_text(encoding="utf-8").strip() for path in found[kind]]
            lines += [
                f"### {title}",
                "",
                *("- " + text.replace("\n", "\n  ") for text in texts),
                "",
            ]
    return "\n".join(lines) + "\n"


def release(root: Path, version: str, day: str) -> None:
    """Move the fragments into the change log."""
    found = fragments(root / "docs" / "newsfragments")
    log = root / "CHANGELOG.md"
    text = log.read_text(encoding="utf-8")
    if MARK not in text:
        raise ValueError(f"CHANGELOG.md has no line {MARK.strip()}")
    log.write_text(text.replace(MARK, MARK + "\n" + section(version, day, found)), encoding="utf-8")
    for paths in found.values():
        for path in paths:
            path.unlink()


def main(arguments: list[str]) -> int:
    """Check the fragments, or make a version of them."""
    try:
        if arguments == ["--check"]:
            fragments(ROOT / "docs" / "newsfragments")
        elif len(arguments) == 1 and not arguments[0].startswith("-"):
            release(ROOT, arguments[0], datetime.now(UTC).strftime("%Y-%m-%d"))
        else:
            print("usage: tools/news.py VERSION, or tools/news.py --check", file=sys.stderr)
            return 2
    except ValueError as error:
        print(f"news: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
