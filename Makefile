# Aliases; see `python3 dev.py`.
.PHONY: demo test matrix lint

demo test matrix lint:
	python3 dev.py $@ $(ARGS)
