"""`angelx journal verify`, `show`, `replay`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from angelx.cli.output import FAILED, answer, example, guarded, say
from angelx.cli.play import Json
from angelx.domain.errors import InputInvalid

JournalFile = Annotated[Path, typer.Argument(metavar="FILE", help="A journal, or the state directory that holds one.")]

app = typer.Typer(
    no_args_is_help=True, help="Look at a journal: is it whole, what does it say, does it come out again?"
)


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(app, name="journal")


def journal_file(path: Path) -> Path:
    """The journal at a path, or in the directory there.

    Raises
    ------
    InputInvalid
        There is none, and nothing says that there was: no head file beside it.
    """
    from angelx.adapters.journal_names import is_journal
    from angelx.app.session import HEAD, JOURNAL

    file = path / JOURNAL if path.is_dir() else path
    if not file.is_file():
        raise InputInvalid(f"{file}: no such journal")
    if not is_journal(file) and not file.with_name(HEAD).exists():
        raise InputInvalid(f"{file}: not a journal")
    return file


@app.command(epilog=example("journal verify var/paper"))
def verify(file: JournalFile, *, json: Json = False) -> None:
    """Check the hash chain over every record: what was edited, removed, moved or cut off is named.

    Without the head file beside it a cut-off end cannot be seen: a warning says so. Exits 1 if anything was found, 2
    where there is no journal.
    """

    def body() -> int:
        from angelx.app.config import load_config
        from angelx.app.session import HEAD, journal_key
        from angelx.app.session import verify as look

        path = journal_file(file)
        found = look(path, journal_key(load_config(None)))
        faults = found.faults
        for fault in faults:
            say(f"angelx: {path}: {fault.what}", json=True)
        if not faults:
            say(f"{path}: {found.records:,} records, chain whole, head {found.head}", json=json)
        if not found.head_file:
            say(f"warning: {path.with_name(HEAD)} is missing: records cut off at the end would not be seen", json=json)
        if json:
            answer(
                {
                    "ok": not faults,
                    "journal": str(path),
                    "records": found.records,
                    "head": found.head,
                    "head_file": found.head_file,
                    "faults": [{"record": fault.record, "what": fault.what} for fault in faults],
                }
            )
        return FAILED if faults else 0

    guarded(body, json=json)


@app.command(epilog=example("journal show var/paper --kind OrderFilled --limit 20"))
def show(
    file: JournalFile,
    *,
    kind: Annotated[list[str] | None, typer.Option(help="Only this class, e.g. OrderFilled. Repeatable.")] = None,
    order: Annotated[str | None, typer.Option(help="Only records of this client order id.")] = None,
    start: Annotated[int, typer.Option("--from", min=1, help="First record.")] = 1,
    limit: Annotated[int, typer.Option(min=0, help="Most records; 0 = all.")] = 0,
    json: Json = False,
) -> None:
    """Print records, one a line: number, sequence, time (UTC), what happened."""

    def body() -> int:
        from datetime import UTC, datetime

        import msgspec

        from angelx.adapters.journal import JournalReader
        from angelx.domain.events import RECORDED
        from angelx.domain.text import printable

        kinds = {one.__name__ for one in RECORDED}
        for name in kind or ():
            if name not in kinds:
                raise InputInvalid(f"--kind {name}: there are {', '.join(sorted(kinds))}")
        reader = JournalReader(journal_file(file))
        shown: list[dict[str, Any]] = []
        count = 0
        for record in reader.records(start):
            event = record.event
            if (kind and record.kind not in kind) or (order and getattr(event, "order", None) != order):
                continue
            fields = {name: getattr(event, name) for name in event.__struct_fields__}
            count += 1
            if json:
                place = {"record": record.number, "seq": record.seq, "row": record.row, "kind": record.kind}
                shown.append({**place, **fields})
            else:
                at = datetime.fromtimestamp(event.at / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
                rest = printable("  ".join(f"{name}={value}" for name, value in fields.items() if name != "at"))
                say(f"{record.number:>8} {record.seq:>10} {at}  {record.kind:<17} {rest}")
            if limit and count >= limit:
                break
        reader.close()
        if json:
            answer({"ok": True, "records": msgspec.to_builtins(shown), "count": count})
        return 0

    guarded(body, json=json)


@app.command(epilog=example("journal replay var/paper --json"))
def replay(file: JournalFile, *, json: Json = False) -> None:
    """Run the recorded inputs through the strategies again and compare every decision.

    Exits 1 at the first difference, and names it.
    """

    def body() -> int:
        from angelx.research.journal_replay import rerun

        path = journal_file(file)
        found = rerun(path)
        if found.identical:
            say(f"{path}: {found.records:,} records over {found.rows:,} ticks came out identical", json=json)
        elif found.divergence is None:
            say(f"{path}: not comparable: {found.why}", json=json)
        else:
            difference = found.divergence
            say(
                f"{path}: record {difference.record} differs\n  recorded: {difference.recorded}\n"
                f"  again:    {difference.rerun}",
                json=json,
            )
        if json:
            import msgspec

            answer({"ok": found.identical, "journal": str(path), **msgspec.to_builtins(found)})
        return 0 if found.identical else FAILED

    guarded(body, json=json)
