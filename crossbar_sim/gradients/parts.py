"""The wires and amplifiers of an array as tensors, so that what they cost can be differentiated."""

from dataclasses import dataclass

import numpy as np
import torch

from netlists.circuit import Periphery, Wires

#: Fields of `Wires` that have a derivative, or that no current depends on.
_KNOWN = ("r_word", "r_bit", "r_driver", "c_word", "c_bit")
#: A number, or a tensor of one number that may require a gradient.
Scalar = torch.Tensor | float


@dataclass(frozen=True)
class TorchWires:
    """The wires of an array; the fields are those of `netlists.Wires` [ohm]."""

    r_word: Scalar
    r_bit: Scalar
    r_driver: Scalar = 0.0

    @classmethod
    def of(cls, wires: Wires) -> "TorchWires":
        """Return the same wires; ValueError if they set a field that is unknown here."""
        if names := wires.others(_KNOWN):
            raise ValueError(f"solve_torch does not know {', '.join(names)}; use `solve`")
        return cls(wires.r_word, wires.r_bit, wires.r_driver)


@dataclass(frozen=True)
class TorchAmplifiers:
    """The transimpedance amplifiers of an array; the fields are those of `netlists.Periphery`.

    v_offset: one for all, or (n_line,) [V].
    """

    r_feedback: Scalar = 20e3
    tia_gain: Scalar = float("inf")
    r_input: Scalar = 0.0
    v_offset: Scalar = 0.0

    @classmethod
    def of(cls, ends: Periphery, n_line: int) -> "TorchAmplifiers":
        """Return the same amplifiers with their drawn offsets, without swing.

        n_line: number of bit lines of both sides.
        """
        offsets = torch.from_numpy(np.array(ends.offsets(n_line)))
        return cls(ends.r_feedback, ends.tia_gain, ends.r_input, offsets)

    @property
    def share(self) -> Scalar:
        """Closed-loop gain of an amplifier as a fraction of the ideal one."""
        return 1.0 / (1.0 + 1.0 / self.tia_gain)

    @property
    def r_tia_input(self) -> Scalar:
        """Input resistance of a TIA [ohm]."""
        return self.r_input + self.r_feedback / (1.0 + self.tia_gain)

    def outputs(self, i_out: torch.Tensor) -> torch.Tensor:
        """Return the output voltages (n_batch, n_line) [V] for currents [A] into the amplifiers."""
        return self.share * (self.v_offset - i_out * self.r_feedback)
