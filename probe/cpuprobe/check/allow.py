"""Allow-lists: which functions of which files may hold what the target lacks, and why.

A list is TOML. Each `[[allow]]` row names files, functions in them by symbol or address (all of
them where it names none), a ceiling of features, and a reason:

    [[allow]]
    file = "libring*.so"
    symbols = ["ring_core_*_avx2"]
    features = ["avx2", "bmi2"]
    reason = "chosen by ring::cpu"

A row that meets nothing is stale, and told. It never allows what is proved to be executed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, NamedTuple

import msgspec

from cpuprobe.check.judge import Fit, Permission
from cpuprobe.check.patterns import glob, lasting_file, lasting_symbol
from cpuprobe.code.needs import Function
from cpuprobe.errors import CaptureError, did_you_mean
from cpuprobe.facts.isa import X86_64, IsaFacts
from cpuprobe.facts.tables import TableError, parse_strangers_toml
from cpuprobe.files import read_bounded

MAXIMUM_BYTES = 4 << 20
MOST_ROWS = 2000
MOST_PATTERNS = 200
"""Names with wildcards, and ranges of addresses: each is tried on each function."""

_Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=16384)]
_Line = Annotated[str, msgspec.Meta(max_length=2000)]
_RANGE = re.compile(r"0x([0-9a-f]{1,16})(?:-0x([0-9a-f]{1,16}))?", re.IGNORECASE)


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[allow]]` row.

    Attributes:
        file: the file's name, or as much of the end of its path as is needed (`app.whl!a/b.so` in
            an archive); `*` stands for any characters. Hashes of auditwheel do not count.
        features: the ceiling: names of features, with what they imply, and of psABI levels.
        reason: why this is right; not empty.
        symbols: functions; `*` stands for any characters, and hashes of rustc do not count.
        addresses: `0x1000-0x2fff`, both ends within.
        most: how many functions of one file the row may allow.
    """

    file: _Pattern
    features: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=500)]
    reason: _Line
    symbols: tuple[_Pattern, ...] = ()
    addresses: tuple[_Pattern, ...] = ()
    most: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Stale(msgspec.Struct, frozen=True):
    """What in a list met nothing.

    Attributes:
        row: which, from 1.
        file: as the row has it.
        what: the symbol or address; empty where the whole row met nothing.
        reason: the row's.
    """

    row: int
    file: str
    what: str
    reason: str


_Test = Callable[[Function, str], bool]
"""Asked of a function and its symbol without hashes."""


class _Rule(NamedTuple):
    """A row, ready to be asked; each test comes with what the list calls it."""

    row: Row
    file: Callable[[str], bool]
    ceiling: frozenset[str]
    exact: dict[str, str]
    tests: list[tuple[str, _Test]]

    @property
    def whole(self) -> bool:
        """Whether it is about all functions of its files."""
        return not self.exact and not self.tests


class AllowList:
    """A list, and what of it was met by the files that it was applied to.

    Attributes:
        rows: as they stand in it.
    """

    def __init__(self, rows: Sequence[Row], name: str, facts: IsaFacts = X86_64) -> None:
        """Prepares rows.

        Args:
            rows: of a list.
            name: the list's, for errors.
            facts: the instruction set whose features they name.

        Raises:
            CaptureError: a row names an unknown feature or no address, or there are too many.
        """
        self.rows = tuple(rows)
        self._rules = [
            _rule(row, f"{name}: [[allow]] row {at}", facts) for at, row in enumerate(rows, 1)
        ]
        self._met: dict[int, set[str]] = {}
        patterns = sum(len(rule.tests) for rule in self._rules)
        if len(rows) > MOST_ROWS or patterns > MOST_PATTERNS:
            raise CaptureError(
                f"{name}: {len(rows)} rows with {patterns} wildcards and addresses: "
                f"no more than {MOST_ROWS} and {MOST_PATTERNS} are read"
            )

    def apply(self, fit: Fit) -> Fit:
        """What a file needs, less what is allowed.

        Args:
            fit: with every function listed that holds what the machine lacks.

        Returns:
            The same with `allowed`, `permissions` and `excess`; it fits if all is allowed.
        """
        if fit.needs is None or not fit.missing:
            return fit
        lacking = set(fit.missing)
        path = lasting_file(fit.path)
        functions = [each for each in fit.needs.functions if lacking.intersection(each.features)]
        mine = [at for at, rule in enumerate(self._rules) if rule.file(path)]
        whole = [at for at in mine if self._rules[at].whole and functions]
        for at in whole:
            self._met.setdefault(at, set()).add("")
        meetings = list(self._meetings(functions, mine))
        counts = Counter(at for met in meetings for at in met)
        counts.update(dict.fromkeys(whole, len(functions)))
        over = {at for at in counts if counts[at] > (self._rules[at].row.most or counts[at])}
        under = frozenset[str]().union(*(self._rules[at].ceiling for at in {*whole} - over))
        excess = []
        used: Counter[int] = Counter()
        for function, met in zip(functions, meetings, strict=True):
            allowing = met - over
            ceiling = under.union(*(self._rules[at].ceiling for at in allowing))
            if lacking.intersection(function.features) <= ceiling:
                used.update(allowing)
            else:
                excess.append(function)
        used.update(dict.fromkeys({*whole} - over, len(functions) - len(excess)))
        listed = {name for each in functions for name in each.features}
        choice = fit.expectation in ("guarded", "unguarded")
        every = choice and not excess and not fit.needs.unlisted and lacking <= listed
        return msgspec.structs.replace(
            fit,
            allowed=every,
            permissions=tuple(
                Permission(used[at], self._rules[at].row.reason, counts[at] if at in over else 0)
                for at in sorted({*used, *over})
            ),
            excess=tuple(excess),
            fits=fit.fits or every,
        )

    def _meetings(
        self, functions: Sequence[Function], mine: Sequence[int]
    ) -> Iterator[frozenset[int]]:
        """For each function the rows that name it, by symbol or address."""
        exact: dict[str, list[tuple[int, str]]] = {}
        for at in mine:
            for symbol, name in self._rules[at].exact.items():
                exact.setdefault(symbol, []).append((at, name))
        tests = [(at, name, test) for at in mine for name, test in self._rules[at].tests]
        for function in functions:
            symbol = lasting_symbol(function.name)
            met = exact.get(symbol, []) + [
                (at, name) for at, name, test in tests if test(function, symbol)
            ]
            for at, name in met:
                self._met.setdefault(at, set()).add(name)
            yield frozenset(at for at, _ in met)

    def lasting(self) -> Iterator[Row]:
        """The rows without what no file met."""
        for at, rule in enumerate(self._rules):
            if met := self._met.get(at):
                yield msgspec.structs.replace(
                    rule.row,
                    symbols=tuple(name for name in rule.row.symbols if name in met),
                    addresses=tuple(name for name in rule.row.addresses if name in met),
                )

    def stale(self) -> tuple[Stale, ...]:
        """What no file met, in the list's order."""
        found = []
        for at, rule in enumerate(self._rules):
            names = [*rule.exact.values(), *(name for name, _ in rule.tests)] or [""]
            left = [name for name in names if name not in self._met.get(at, ())]
            if len(left) == len(names):
                left = [""]
            found += [Stale(at + 1, rule.row.file, name, rule.row.reason) for name in left]
        return tuple(found)


def read_list(path: str, facts: IsaFacts = X86_64) -> AllowList:
    """Reads a list; its rows name features and levels of one instruction set, `facts`.

    Raises:
        CaptureError: it cannot be read, or breaks a rule; one line.
    """
    name, content = read_bounded(path, MAXIMUM_BYTES, ", no allow-list is")
    try:
        table = parse_strangers_toml(content, name, "[[allow]]")
        found = table.get("allow", [])
        if set(table) - {"allow"} or not isinstance(found, list):
            raise TableError(f"{name}: only [[allow]] rows may stand here")
        rows = []
        for number, raw in enumerate(found, 1):
            try:
                rows.append(msgspec.convert(raw, Row))
            except msgspec.ValidationError as error:
                raise TableError(f"{name}: [[allow]] row {number}: {error}") from None
            if not rows[-1].reason.strip():
                raise TableError(
                    f"{name}: [[allow]] row {number} ({rows[-1].file}): has no reason yet"
                )
    except TableError as error:
        raise CaptureError(str(error)) from None
    return AllowList(rows, name, facts)


def _rule(row: Row, place: str, facts: IsaFacts) -> _Rule:
    file = lasting_file(row.file)
    like = [glob(f"{before}{file}") for before in ("", "*/", "*!")]
    exact: dict[str, str] = {}
    tests: list[tuple[str, _Test]] = []
    for name in row.symbols:
        lasting = lasting_symbol(name)
        if "*" in lasting:
            tests.append((name, _by_symbol(lasting)))
        else:
            exact[lasting] = name
    tests += [(name, _by_address(name, place)) for name in row.addresses]
    return _Rule(
        row,
        lambda path: any(each(path) for each in like),
        _ceiling(row.features, place, facts),
        exact,
        tests,
    )


def _by_symbol(pattern: str) -> _Test:
    like = glob(pattern)
    return lambda _, symbol: like(symbol)


def _by_address(text: str, place: str) -> _Test:
    found = _RANGE.fullmatch(text)
    if found is None:
        raise CaptureError(f"{place}: not an address range: {text!r}; write 0x1000-0x2fff")
    low = int(found[1], 16)
    high = int(found[2] or found[1], 16)
    return lambda function, _: low <= function.address and function.last <= high


def _ceiling(names: Sequence[str], place: str, facts: IsaFacts) -> frozenset[str]:
    table = facts.features()
    levels = {level.name: level.features for level in facts.levels()}
    ceiling: set[str] = set()
    for name in names:
        if name in levels:
            ceiling |= {*levels[name]}
        elif name in table:
            ceiling |= {name, *table.closure(name)}
        else:
            hint = did_you_mean(name, (*levels, *table))
            raise CaptureError(f"{place}: no feature and no level: {name!r}{hint}")
    return frozenset(ceiling)
