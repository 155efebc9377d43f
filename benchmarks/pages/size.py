"""docs/how_to/size_and_time.md: what a network of a size takes, from kept outputs."""

from benchmarks.pages.tables import load, table


def page() -> str:
    """Return the page."""
    forward = load("forward")["rows"]
    full = [row["DAC and ADC"] for row in forward]
    ideal = [row["ideal converters"] for row in forward]
    return (
        "\n\n".join(
            [
                "# How long, how much memory",
                "Written by `benchmarks/pages/readme.py` from kept outputs. For your own network, ask first: `crossbar-sim run` and `study` say "
                "before their slow steps how many tiles, seconds and bytes they take, and `print(crossbar_sim.estimate(model, data))` says it "
                "from Python, within a factor of three.",
                "## For a million weights\n\nProcessor time of one core, and memory or disk, for each million weights that are left. They grow with the "
                "number of weights; selection also with the resistors of a bank (the sums of each bank are sorted, 2 to the power of n), and "
                "circuits with the side of the tiles:\n\n"
                + table(["step", "time", "size"], _for_a_million()),
                "A pruned weight takes nothing in packs and selections. Netlists and pictures are most of a pack: `export --no-netlists`, `--sample N`.",
                "## The network on its die\n\nOnce its circuits are known, a pass through the whole network is one product for each tile. Over the same "
                f"pass of the digital network it takes {min(r['ratio'] for r in full):.1f} to {max(r['ratio'] for r in full):.1f} times the time and "
                f"{min(r['memory'] for r in full):.1f} to {max(r['memory'] for r in full):.1f} times the memory with 8-bit converters, "
                f"{min(r['ratio'] for r in ideal):.1f} to {max(r['ratio'] for r in ideal):.1f} and {min(r['memory'] for r in ideal):.1f} to "
                f"{max(r['memory'] for r in ideal):.1f} with ideal ones ([each network](../results/networks.md)).",
                "## ngspice\n\nngspice solves every tile of a run for `simulation.n_image` images, which is most of the time of a run with large tiles; "
                "`simulation.n_image = 1` asks for the least. A study asks ngspice for `simulation.check_tiles` tiles, by default none.",
            ]
        )
        + "\n"
    )


def _for_a_million() -> list[list[str]]:
    """Return rows of step, time and size for a million weights."""
    lm, saved = load("minilm"), load("saved")["dense"]
    pack = load("pack_speed")
    millions, mapping = lm["n_weight"] / 1e6, lm["costs"]["map"]
    each = lm["n_resistor"] / lm["n_weight"]
    resnet, branches = load("resnet18")["dense"]["n_weight"] / 1e6, pack["n_branch"] / 1e6
    return [
        [
            "choosing all switches (`map`)",
            f"{mapping['cpu_seconds'] / millions:.1f} s",
            f"{mapping['peak_bytes'] / millions / 1e6:.0f} MB",
        ],
        [
            f"`mapped.npz` with {each:.0f} resistors a weight",
            "",
            f"{lm['mapping_bytes'] / millions / 1e6:.0f} MB of disk",
        ],
        [
            "`to_torch` with wires, 64 × 64 tiles, 6 resistors a weight",
            f"{saved['seconds']['to_torch'][1] / resnet:.1f} s",
            f"{saved['bytes']['a/transfers.npz'] / resnet / 1e6:.0f} MB of disk, if saved",
        ],
        [
            f"a pack with netlists and pictures, {each:.0f} resistors a weight",
            f"{pack['write_cpu_s'] / branches * each:.0f} s",
            f"{pack['bytes'] / branches * each / 1e6:,.0f} MB of disk",
        ],
    ]
