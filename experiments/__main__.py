"""Run a program by its name: zf_jax train --config=digits --workdir=runs/digits"""

from experiments.lib.command import main

if __name__ == "__main__":
    main()
