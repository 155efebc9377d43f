.PHONY: setup setup-run foundry demo docs test lint tests other-machines clean

setup:
	@scripts/setup.sh

setup-run:
	@scripts/setup.sh run

foundry: setup-run
	@scripts/foundry.sh

demo: setup-run
	.venv/bin/crossbar-sim run examples/runs/digits.toml
	.venv/bin/crossbar-sim run examples/runs/digits_cnn.toml

docs: setup
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
	@echo 'site/index.html; with its search: .venv/bin/python -m http.server -d site'

test: setup lint tests

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright

tests:
	.venv/bin/pytest -n 2 --dist loadfile

# What trains, or must not differ anywhere, under kernels of other processors, other initial weights and in random order.
other-machines:
	ATEN_CPU_CAPABILITY=default OPENBLAS_CORETYPE=Haswell OMP_NUM_THREADS=1 \
	    .venv/bin/pytest -n 2 --dist loadfile -m "training or anywhere" --other-seeds 1000 -p randomly
	ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=2 \
	    .venv/bin/pytest -n 2 --dist loadfile -m "training or anywhere" --other-seeds 2000 --threads 2 -p randomly

clean:
	rm -rf .venv results site .pytest_cache .ruff_cache build *.egg-info
