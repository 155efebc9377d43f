.PHONY: setup demo test lint tests clean

setup:
	@scripts/setup.sh

demo: setup
	.venv/bin/crossbar-sim run examples/digits.toml
	.venv/bin/crossbar-sim run examples/digits_cnn.toml

test: setup lint tests

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright

tests:
	.venv/bin/pytest -n 2 --dist loadfile

clean:
	rm -rf .venv results .pytest_cache .ruff_cache build *.egg-info
