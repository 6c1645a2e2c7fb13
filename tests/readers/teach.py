#!/usr/bin/env python3
"""Holds what picsift learns against scikit-learn's LogisticRegression on the same embeddings and folds.

    python tests/readers/teach.py CASES.json

CASES.json has `vectors`, the embeddings, and `cases`: each names a category, the `rows` that were taught, their `labels` and `folds`,
the `strengths` that were tried, and of picsift the `strength` that it chose and the out-of-fold `scores` at it. scikit-learn fits
each fold at each strength; of these the one with the least log loss out of fold counts, as in picsift. The average precision of both
must be equal within 0.005. Prints one line a case; exit code 1 if one differs.
"""

import json
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss

NEAR = 0.005


def out_of_fold(vectors, labels, folds, strength):
    scores = np.zeros(len(labels))
    for fold in sorted(set(folds)):
        held = folds == fold
        model = LogisticRegression(C=strength, tol=1e-6, max_iter=20000)
        model.fit(vectors[~held], labels[~held])
        scores[held] = model.decision_function(vectors[held])
    return scores


def loss(labels, scores):
    return log_loss(labels, 1 / (1 + np.exp(-scores)))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        given = json.load(file)
    vectors = np.array(given["vectors"])
    different = 0
    for case in given["cases"]:
        rows, labels = vectors[case["rows"]], np.array(case["labels"])
        folds = np.array(case["folds"])
        tried = {c: out_of_fold(rows, labels, folds, c) for c in case["strengths"]}
        best = min(tried, key=lambda c: loss(labels, tried[c]))
        ours = average_precision_score(labels, np.array(case["scores"]))
        theirs = average_precision_score(labels, tried[best])
        near = abs(ours - theirs) <= NEAR
        different += not near
        print(
            f"{'equal' if near else 'DIFFERENT'}: {case['name']}, {case['examples']} examples: AP {ours:.4f} at C = {case['strength']:.4g}, "
            f"scikit-learn {theirs:.4f} at {best:.4g}"
        )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
