"""Read noise from counters: known words, the right distribution, the same in any batches."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from crossbar_sim import Converters, Hardware, Noise, to_torch
from crossbar_sim.periphery.fused_noise import ReadNoise, add_noise, stretches
from crossbar_sim.periphery.noise_stream import NoiseStream, normals
from crossbar_sim.periphery.philox import Counters, words, words_in_torch
from elsewhere import elsewhere
from mapping import Die, ResistorBank, TileConfig, map_network
from tinynets.networks.extraction import extract

CPU = torch.device("cpu")
#: Of 32-bit words as here, and of the 64-bit words of `numpy.random.Philox`.
CONSTANTS = {
    32: (0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85),
    64: (0xD2E7470EE14C6C93, 0xCA5A826395121157, 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B),
}
COUNTERS = [
    Counters((0, 0), 0, 0, 0, 3, 5),
    Counters((0xFFFFFFFF, 0x80000001), 0xFFFFFFFF, 2**32 - 2, 0, 4, 3),
    Counters((0xA4093822, 0x299F31D0), 0x85A308D3, 2**63 - 1, 2**32 - 50, 3, 40),
    Counters((7, 0), 64, 2**64 - 2, 7, 2, 2),
    Counters((1, 2), 3, 4, 5, 1, 1),
]


def philox(bits: int, counter: list[int], key: list[int]) -> list[int]:
    """Return the words of one counter by integers of any length, as its authors write it."""
    by_0, by_1, step_0, step_1 = CONSTANTS[bits]
    mask = 2**bits - 1
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        one, other = a * by_0, c * by_1
        a, b, c, d = (other >> bits) ^ b ^ k, other & mask, (one >> bits) ^ d ^ m, one & mask
        k, m = (k + step_0) & mask, (m + step_1) & mask
    return [a, b, c, d]


def test_the_reference_gives_the_words_of_numpy():
    """Of the same key and counter; NumPy counts on before it makes a block."""
    key, counter = [2**63 + 5, 12345], [41, 7, 2**64 - 1, 3]
    raw = np.random.Philox(counter=np.array(counter, np.uint64), key=np.array(key, np.uint64))
    assert raw.random_raw(4).tolist() == philox(64, [42, *counter[1:]], key)


def test_known_words():
    """Those of the authors' Random123 library, of 10 rounds."""
    assert philox(32, [0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = 0xFFFFFFFF
    assert philox(32, [ones] * 4, [ones] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


@pytest.mark.parametrize("counters", COUNTERS)
def test_all_ways_give_the_same_words(counters):
    expected = np.zeros((4, counters.n_row, counters.n_block), np.int64)
    for row, block in np.ndindex(expected.shape[1:]):
        low, high = (counters.first + row) % 2**32, (counters.first + row) % 2**64 >> 32
        counter = [counters.first_block + block, counters.place, low, high]
        expected[:, row, block] = philox(32, counter, [*counters.key])
    assert np.array_equal(words(counters, CPU).numpy(), expected)
    assert np.array_equal(words_in_torch(counters, CPU).numpy(), expected)
    with elsewhere() as device:
        assert np.array_equal(words(counters, device).cpu().numpy(), expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_gives_the_same_words_and_noise():
    device = torch.device("cuda")
    for counters in COUNTERS:
        assert np.array_equal(words(counters, device).cpu().numpy(), words(counters, CPU).numpy())
    here, there = torch.zeros(50, 70), torch.zeros(50, 70, device=device)
    noise = [NoiseStream(3, "fc1").read(50).of(1, 2)(x).cpu() for x in (here, there)]
    np.testing.assert_allclose(noise[1], noise[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(40_000, 5), (500, 400)])
def test_the_numbers_are_normal_and_independent(shape, dtype):
    found = NoiseStream(1, "fc1").read(shape[0]).of(0, 0)(torch.zeros(shape, dtype=dtype))
    assert found.shape == shape
    assert found.dtype == dtype
    x = found.double().numpy()
    if dtype != torch.bfloat16:
        assert stats.kstest(x.ravel(), "norm").pvalue > 1e-4
    n = x.size
    assert abs(x.mean()) < 4 / np.sqrt(n)
    assert abs((x**2).mean() - 1) < 6 / np.sqrt(n)
    neighbours = np.corrcoef(x.T[:5])
    assert np.abs(neighbours - np.eye(5)).max() < 5 / np.sqrt(shape[0])
    assert abs(np.mean(x[1:] * x[:-1])) < 5 / np.sqrt(n)


def test_the_ends_of_the_words_give_finite_numbers():
    ends = torch.tensor([0, 1, 2**31, 2**32 - 1])
    for dtype in (torch.float32, torch.float64):
        found = normals(torch.stack([ends, ends.flip(0), ends, ends.flip(0)]), dtype)
        assert bool(found.isfinite().all())
        assert 6.7 < float(found.abs().max()) < 6.8


@pytest.mark.parametrize("shape", [(300, 70), (3, 18, 11, 13), (40, 5, 2, 2), (2, 2, 30, 30)])
def test_kernels_have_the_numbers_of_torch(shape):
    """In blocks of positions that begin and end within images, to the rounding of float32."""
    stream = NoiseStream(5, "conv")
    stream.read(2**32 - 2)
    reading = stream.read(shape[0])
    wanted = reading.of(3, 3)(torch.zeros(shape, dtype=torch.float64)).reshape(*shape[:2], -1)
    n_output, n_position = shape[1], wanted[0, 0].numel()
    sigma = np.linspace(1, 2, 3 + n_output).astype(np.float32)
    counts = map(np.uint64, (reading.place(3), reading.first, n_position))
    noise = ReadNoise(sigma, np.array(stream.key, np.uint64), *counts)
    wanted = wanted.transpose(0, 1).flatten(1) * torch.from_numpy(sigma[3:, None])
    found, size = np.zeros(wanted.shape, np.float32), 67
    for first in range(0, found.shape[1], size):
        block = np.ascontiguousarray(found[:, first : first + size])
        n, runs = block.shape[1], np.empty((size, 3), np.uint64)
        runs = runs[: stretches(noise, first, n, runs)]
        work, half = np.empty((6, n), np.float32), n_output // 2
        known = add_noise(block[:half], noise, 3, runs, work, -1)
        known = add_noise(block[half:], noise, 3 + half, runs, work, known)
        assert known == (2 + n_output) // 4
        found[:, first : first + size] = block
    # An angle of 2 pi has an error of 2e-7 in torch's float32 too; lengths are up to 6.8.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_numbers_of_some_adcs_are_those_among_all():
    reading = NoiseStream(0, "a").read(5)
    whole = reading.of(0, 1)(torch.zeros(5, 30, 2, 3))
    for first, n in ((0, 7), (3, 2), (4, 9), (13, 17), (29, 1)):
        part = reading.of(first, 1)(torch.zeros(5, n, 2, 3))
        assert torch.equal(part, whole[:, first : first + n])


def test_adcs_passes_layers_and_seeds_have_their_own_numbers():
    draws = [NoiseStream(seed, label).read(6) for seed, label in [(0, "a"), (1, "a"), (0, "b")]]
    found = [
        draw.of(first, k)(torch.zeros(6, 9)) for draw in draws for first in (0, 9) for k in (0, 1)
    ]
    flat = torch.stack(found).flatten(1)
    correlation = np.corrcoef(flat.numpy()) - np.eye(12)
    assert np.abs(correlation).max() < 0.6
    assert len({tuple(row.tolist()) for row in flat}) == 12


class Twice(nn.Module):
    """Uses one of its layers twice, and on rows beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Conv2d(1, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(torch.relu(self.a(x)))
        return self.b(y[:, None]).flatten(1)


@pytest.mark.parametrize(
    "converters",
    [
        Converters(),
        Converters(dac_bits=3, inputs="bit-serial"),
        Converters(dac_inl=0.01),
        Converters(adc_bits=8),
    ],
)
def test_samples_have_their_noise_in_any_batches(converters):
    torch.manual_seed(1)
    model, x = Twice().eval(), torch.randn(12, 5, 6)
    die = Die(ResistorBank(n=6), seed=1)
    mapped = map_network(extract(model, x), die, TileConfig(4, 4))
    hardware = Hardware(converters=converters, noise=Noise(bandwidth=1e11, seed=2))
    found = {}
    with torch.no_grad():
        for size in (12, 5, 1):
            analog = to_torch(model, mapped, hardware, calibration=x)
            found[size] = torch.cat([analog(part) for part in x.split(size)])
            again = torch.cat([analog(part) for part in x.split(size)])
            assert float((again - found[size]).abs().mean()) > 1e-3, "noise goes on"
    for size in (5, 1):
        np.testing.assert_allclose(found[size], found[12], rtol=0, atol=2e-5)


def test_a_layer_that_is_used_alone_counts_what_it_reads():
    stream, out = NoiseStream(0, "a"), torch.zeros(4, 3)
    first, second = (stream.read(4).of(0, 0)(out) for _ in range(2))
    both = NoiseStream(0, "a").read(8).of(0, 0)(torch.zeros(8, 3))
    assert torch.equal(torch.cat([first, second]), both)


def test_long_batches_are_made_in_parts(monkeypatch):
    whole = NoiseStream(0, "a").read(40).of(0, 0)(torch.zeros(40, 9, 3))
    monkeypatch.setattr("crossbar_sim.periphery.noise_stream._AT_ONCE", 20)
    parts = NoiseStream(0, "a").read(40).of(0, 0)(torch.zeros(40, 9, 3))
    assert torch.equal(whole, parts)
    none = NoiseStream(0, "a").read(0).of(0, 0)(torch.zeros(0, 9))
    assert none.shape == (0, 9)
