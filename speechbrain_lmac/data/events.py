"""Events at known times: the loudest part of a clip, laid on another sound."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechbrain_lmac.data.contaminants import Contaminant, Scene
from speechbrain_lmac.data.mixtures import Entry
from speechbrain_lmac.dsp.mixing import gains_of_snr
from speechbrain_lmac.utils.errors import InputError, check_numbers
from speechbrain_lmac.utils.seeding import generator

# Share of the energy before an event, and after it: the significant duration D5-95 of
# seismology (Trifunac and Brady 1975).
BEGIN = 0.05
FADE_SECONDS = 0.01


def loudest_part(
    wav: torch.Tensor, shortest: int, longest: int, begin: float = BEGIN
) -> tuple[int, int]:
    """Return the loudest part of a waveform, between two lengths.

    Of all windows of the greatest length the one with the most energy; of this one the
    time from the share `begin` of its energy to 1 - `begin`, widened on both sides to
    the smallest length.

    Arguments
    ---------
    wav : torch.Tensor
        Shape (N,).
    shortest, longest : int
        Bounds of the length, in samples; at most N is used of both.
    begin : float
        Share of the energy before the event, and after it, below 0.5.

    Returns
    -------
    offset, length : int
        In samples. Of silence, the beginning.

    Example
    -------
    >>> wav = torch.tensor([0.0, 1.0, 0.0, 0.0, 3.0, 3.0, 0.0, 0.0])
    >>> loudest_part(wav, 1, 4), loudest_part(wav, 4, 4)
    ((4, 2), (3, 4))
    """
    # By numpy, in one thread: torch's sums depend on the number of threads.
    power = np.square(wav.double().numpy())
    passed = np.concatenate([[0.0], power.cumsum()])
    longest, shortest = min(longest, len(power)), min(shortest, len(power))
    energy = passed[longest:] - passed[:-longest]
    start = int(energy.argmax())
    if energy[start] <= 0:
        return 0, shortest
    inside = (passed[start : start + longest + 1] - passed[start]) / energy[start]
    first = int(np.searchsorted(inside, begin, side="right")) - 1
    last = int(np.searchsorted(inside, 1 - begin))
    length = max(last - first, shortest)
    centred = start + (first + last - length) // 2
    return min(max(centred, 0), len(power) - length), length


def position_of(k: int, n_positions: int, room: int, share: float) -> int:
    """Return the k-th position of an event: a place in the k-th of n equal parts.

    floor(room (k + share) / n)

    Arguments
    ---------
    k, n_positions : int
        Number of the position, from 0, and how many there are.
    room : int
        Latest position, in samples.
    share : float
        Place in the part, in [0, 1).

    Returns
    -------
    position : int
        In samples, 0 to `room`.

    Example
    -------
    >>> [position_of(k, 5, 100, 0.5) for k in range(5)]
    [10, 30, 50, 70, 90]
    """
    return int(room * (k + share) / n_positions)


def event_times(
    entries: Mapping[str, Entry],
) -> Callable[[list[str]], tuple[torch.Tensor, torch.Tensor]] | None:
    """Return a function from ids to start and end of their events, see `GroundTruth`.

    Arguments
    ---------
    entries : dict
        Id to entry (`speechbrain_lmac.data.mixtures`).

    Returns
    -------
    times : callable or None
        None unless every entry has an event.

    Example
    -------
    >>> times = event_times({"a+0": {"event": {"start": 3.0, "end": 3.5}}})
    >>> times(["a+0"])
    (tensor([3.], dtype=torch.float64), tensor([3.5000], dtype=torch.float64))
    """
    if not entries or any("event" not in entry for entry in entries.values()):
        return None

    def times(ids: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        events = [entries[name]["event"] for name in ids]
        start, end = (
            torch.tensor([event[side] for event in events], dtype=torch.float64)
            for side in ("start", "end")
        )
        return start, end

    return times


class Events(Contaminant):
    """The loudest part of clips of some classes, on another contaminant.

    The k-th mixture of a clip has the event in the k-th of `per_clip` equal parts of
    the time, at a drawn place, and a background of its own. `snr_db` compares mean
    powers: that of the event over its own length, that of the background over the clip.

    Arguments
    ---------
    background : Contaminant
        Its gains are not used.
    classes : list of str
        Classes whose clips have an event. Clips of other classes are left out.
    seconds : (float, float)
        Least and greatest length of an event, see `loudest_part`.
    snr_db : float
        Level of the event over the background, dB, unless the condition sets it.

    Raises
    ------
    InputError
        For no class, for lengths that are not above 0 and ordered, and for an invalid
        level.
    """

    def __init__(
        self,
        background: Contaminant,
        classes: Sequence[str],
        seconds: Sequence[float] = (0.3, 1.0),
        snr_db: float = 6.0,
    ) -> None:
        check_numbers(snr_db=snr_db)
        super().__init__("events", gains_of_snr(snr_db))
        self.contaminant = background
        self.classes = sorted(classes)
        if not self.classes or isinstance(classes, str):
            raise InputError(
                f"events: classes must be a list of class names, got {classes!r}"
            )
        lengths = list(seconds) if isinstance(seconds, Sequence) else [seconds]
        if len(lengths) != 2:
            raise InputError(f"events: seconds must be two lengths, got {seconds!r}")
        check_numbers(0, shortest_event=lengths[0], longest_event=lengths[1])
        self.shortest, self.longest = lengths
        if not 0 < self.shortest <= self.longest:
            raise InputError(
                "events: seconds must be above 0 and the least first, got "
                f"{self.shortest:g} and {self.longest:g}"
            )

    @property
    def noise_root(self) -> str | Path | None:
        """The folder of the background's corpus; None: no corpus."""
        return self.contaminant.noise_root

    def prepare(self) -> None:
        """Prepare the background's files."""
        self.contaminant.prepare()

    def listing(self, scene: Scene) -> list[Any]:
        """Return the settings of the events, and the background's candidates."""
        other = self.contaminant
        settings = [self.classes, self.shortest, self.longest, other.kind]
        return [*settings, *other.listing(scene)]

    def description(self, scene: Scene) -> str:
        """Return background and events in words, for a table's header."""
        return (
            f"{self.contaminant.description(scene)}, of each clip its loudest "
            f"{self.shortest:g} to {self.longest:g} s at {scene.per_clip} times "
            f"({', '.join(self.classes)})"
        )

    def backgrounds(
        self, bases: Mapping[str, dict[str, str]], scene: Scene
    ) -> dict[str, list[Entry | None]]:
        """Map the id of each clip with an event to its backgrounds.

        Raises
        ------
        InputError
            For a class without a clip.
        """
        existing = sorted({base["category"] for base in bases.values()})
        missing = [name for name in self.classes if name not in existing]
        if missing:
            raise InputError(
                f"events: no clip of {', '.join(missing)}; the classes with clips are "
                f"{', '.join(existing)}"
            )
        chosen = {
            clip: base
            for clip, base in bases.items()
            if base["category"] in self.classes
        }
        return self.contaminant.backgrounds(chosen, scene)

    def placed(self, entries: dict[str, Entry], scene: Scene) -> dict[str, Entry]:
        """Return the entries with the event of each clip at its times.

        Arguments
        ---------
        entries : dict
            Id to entry: of each clip, the mixtures in their order.
        scene : Scene

        Returns
        -------
        entries : dict
            With `event`, and with gains for the two stems, each scaled to unit energy.
        """
        rate, n = scene.sample_rate, scene.n_samples
        bounds = [round(s * rate) for s in (self.shortest, self.longest)]
        shortest, longest = (min(max(b, 1), n) for b in bounds)
        parts: dict[str, tuple[int, int]] = {}
        seen: Counter[str] = Counter()
        placed = {}
        for name, entry in entries.items():
            clip = entry["base"]
            if clip not in parts:
                wav = scene.sounds.read(entry["foreground"])[:n]
                parts[clip] = loudest_part(wav, shortest, longest)
            offset, length = parts[clip]
            draw = generator(scene.seed, self.kind, scene.split, clip, seen[clip])
            share = torch.rand((), generator=draw, dtype=torch.float64).item()
            position = position_of(seen[clip], scene.per_clip, n - length, share)
            seen[clip] += 1
            own, other = entry["gains"]
            placed[name] = entry | {
                "gains": [own * (length / n) ** 0.5, other],
                "event": {
                    "offset": offset,
                    "length": length,
                    "position": position,
                    "fade": round(FADE_SECONDS * rate),
                    "start": position / rate,
                    "end": (position + length) / rate,
                },
            }
        return placed
