"""How a sparsity is reached over the rounds of pruning and training."""


def sparsities(schedule: str, sparsity: float, rounds: int) -> list[float]:
    """Return the sparsity after each round; the last one is `sparsity`.

    schedule: one of
        "one_shot": a single round, whatever `rounds` says;
        "iterative": each round keeps the same fraction of what is left (Han et al.,
            arXiv 1506.02626);
        "cubic": many weights go early and few late, s * (1 - (1 - k / rounds)³) (Zhu, Gupta,
            arXiv 1710.01878).

    Raises ValueError for an unknown schedule or less than one round.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1; got {rounds}")
    steps = range(1, rounds + 1)
    if schedule == "one_shot":
        return [sparsity]
    if schedule == "iterative":
        return [1.0 - (1.0 - sparsity) ** (k / rounds) for k in steps]
    if schedule == "cubic":
        return [sparsity * (1.0 - (1.0 - k / rounds) ** 3) for k in steps]
    raise ValueError(f"schedule must be 'one_shot', 'iterative' or 'cubic'; got {schedule!r}")
