"""lab train: a model trained by its recipe, measured, and written with its card."""

from __future__ import annotations

import argparse
from pathlib import Path

import lab
from lab.cli import options
from lab.cli.outputs import say


def add(commands: options.Commands) -> None:
    """Declares the command."""
    parser = commands.add_parser("train", help="train a model by its recipe, measure it, and write weights and card")
    parser.add_argument("recipe", help="e.g. mnist/cnn, or the path of a recipe file")
    parser.add_argument("--dataset", metavar="KEY", help="must be the recipe's own; checked")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the weights, .safetensors; the card beside"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of the official data (default: LAB_DATA, or data/)"
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="saved after each epoch; a stopped run goes on here"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Trains by a recipe, one line an epoch."""
    from lab.training.recipe import load_recipe, run_recipe

    recipe = load_recipe(args.recipe)
    if args.dataset is not None and args.dataset != recipe.dataset:
        raise lab.DataError(
            f"the recipe {args.recipe} trains on {recipe.dataset}, not on {args.dataset}: leave --dataset out"
        )
    for epoch in run_recipe(args.recipe, args.out, data_root=args.data, checkpoint=args.checkpoint):
        say(str(epoch))
    say(f"wrote {args.out} and {args.out.with_suffix('.json')}")
