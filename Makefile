.PHONY: setup setup-run foundry demo docs test lint tests other-machines clean

setup:
	@scripts/setup.sh

setup-run:
	@scripts/setup.sh run

foundry: setup-run
	@scripts/foundry.sh

# A report is made again when its configuration, its network or the code has changed.
DEMOS = results/digits/report.html results/digits_cnn/report.html
CODE = $(shell find tinynets mapping netlists crossbar_sim -name '*.py' -o -name '*.j2')

demo: $(DEMOS)
	@ls $(DEMOS)

$(DEMOS): results/%/report.html: examples/runs/%.toml examples/networks/%.safetensors $(CODE) | setup-run
	.venv/bin/crossbar-sim run $<

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
