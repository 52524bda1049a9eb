"""Labels of spoken class names: log-mel spectrograms, 64 × 64."""

from __future__ import annotations

import math
import wave
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.signal import get_window, resample_poly

Floats = NDArray[np.float64]

RATE = 22_050
"""Samples a second after resampling."""

FRAME, HOP, BANDS, TOP = 2048, 256, 64, 8000.0
"""Samples of a frame and from one to the next, mel bands, and upper edge of the last one in Hz."""

SILENCE, FLOOR = 60.0, 80.0
"""Level below the loudest frame that is trimmed at both ends, and level of the floor, in dB."""


def spectrogram(path: Path) -> NDArray[np.float32]:
    """Return the label that a recording makes, in dB below its loudest cell, in [-80, 0].

    Power mel spectrogram with Slaney's bands of equal area, resized bilinearly (Chen et al., ICLR
    2021, section 3; settings of their published program).

    Args:
        path: WAV file with one channel of 16 bits, at 16 kHz or more.

    Returns:
        float32 ``[64, 64]``, bands by time; low bands first.

    Raises:
        ValueError: it is no such file, it is silent, or it has less sound than a frame.
    """
    sound = trim(read(path), path.name)
    if len(sound) < FRAME:
        raise ValueError(
            f"{path.name}: {len(sound) / RATE:.3f} s of sound, expected {FRAME / RATE:.3f} or more"
        )
    window = get_window("hann", FRAME)
    power = np.abs(np.fft.rfft(frames(sound, HOP) * window)) ** 2
    mel = mel_filters() @ power.T
    level = 10 * np.log10(np.maximum(mel, 1e-10) / max(float(mel.max()), 1e-10))
    image = torch.tensor(np.maximum(level, -FLOOR), dtype=torch.float32)[None, None]
    resized = F.interpolate(image, (64, 64), mode="bilinear", align_corners=False)
    found: NDArray[np.float32] = resized[0, 0].numpy()
    return found


def read(path: Path) -> Floats:
    """Return a recording's samples at ``RATE``, in [-1, 1] ``[N]``.

    Raises:
        ValueError: it is no WAV file with one channel of 16 bits at 16 kHz or more.
    """
    try:
        with wave.open(str(path)) as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            content = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise ValueError(f"{path.name}: not a WAV file ({error})") from error
    if channels != 1 or width != 2 or rate < 2 * TOP:
        raise ValueError(
            f"{path.name}: {channels} channels of {8 * width} bits at {rate:,} Hz, expected one of "
            f"16 bits at {2 * TOP:,.0f} Hz or more"
        )
    sound = np.frombuffer(content[: len(content) // 2 * 2], dtype="<i2") / 2**15
    common = math.gcd(RATE, rate)
    found: Floats = resample_poly(sound, RATE // common, rate // common, window=("kaiser", 12.0))
    return found


def trim(sound: Floats, name: str) -> Floats:
    """Return a recording without the silence at both ends.

    Raises:
        ValueError: there is nothing but silence.
    """
    hop = 512
    power = np.mean(frames(sound, hop) ** 2, axis=1) if len(sound) else np.zeros(1)
    if not power.max() > 1e-10:
        raise ValueError(f"{name}: silent, expected a spoken word")
    loud = np.flatnonzero(10 * np.log10(np.maximum(power, 1e-10) / power.max()) > -SILENCE)
    return sound[loud[0] * hop : (loud[-1] + 1) * hop]


def frames(sound: Floats, hop: int) -> Floats:
    """Return overlapping frames ``[T, FRAME]``, the first one centred on the first sample."""
    padded = np.pad(sound, FRAME // 2, mode="reflect")
    return np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::hop]


def mel_filters() -> Floats:
    """Return triangles of equal area over Slaney's mel scale, ``[BANDS, FRAME / 2 + 1]``."""
    edges = hertz(np.linspace(0.0, mels(TOP), BANDS + 2))
    bins = np.fft.rfftfreq(FRAME, 1 / RATE)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    found: Floats = np.clip(np.minimum(rising, falling), 0, None) * 2 / (high - low)
    return found


STEP = math.log(6.4) / 27
"""Growth of a mel above 1 kHz in Slaney's Auditory Toolbox (1998)."""


def mels(frequency: float) -> float:
    """Return Slaney's mel of a frequency above 1 kHz: linear up to there (15 mel), then log."""
    return 15 + math.log(frequency / 1000) / STEP


def hertz(mel: Floats) -> Floats:
    """Return the frequencies of Slaney's mels."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(STEP * (mel - 15)))
