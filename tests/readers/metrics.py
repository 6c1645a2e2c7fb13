"""What scikit-learn says of a labelled table, as JSON: figures of each category, with and without weights.

Usage: metrics.py TABLE TRUTH CATEGORY...   where TRUTH is a column of lists, or a pattern such as truth_{}.
"""

import json
import sys
import warnings

import numpy as np
import pyarrow.dataset as ds
from sklearn import metrics

table, truth, categories = sys.argv[1], sys.argv[2], sys.argv[3:]
rows = ds.dataset(table, format="parquet", exclude_invalid_files=True).to_table()
rows = rows.drop_columns([name for name in ("image",) if name in rows.column_names])
weights = np.array(rows["picsift_weight"]) if "picsift_weight" in rows.column_names else None


def folded(word):
    return "".join(letter for letter in word.lower() if letter.isalnum())


def calibration_error(true, score, weight, bins=15):
    bin_of = np.minimum((score * bins).astype(int), bins - 1)
    gaps = [abs(np.sum(weight[bin_of == b] * (true[bin_of == b] - score[bin_of == b]))) for b in range(bins)]
    return sum(gaps) / weight.sum()


figures = {}
for category in categories:
    column = category.replace(" ", "_")
    predicted = rows[f"is_{column}"].to_pylist()
    score = rows[f"score_{column}"].to_pylist()
    if "{}" in truth:
        true = rows[truth.replace("{}", column)].to_pylist()
    else:
        lists = rows[truth].to_pylist()
        true = [None if words is None else folded(category) in map(folded, words) for words in lists]
    known = [i for i in range(len(true)) if None not in (true[i], predicted[i], score[i])]
    true = np.array([true[i] for i in known], dtype=bool)
    predicted = np.array([predicted[i] for i in known], dtype=bool)
    score = np.array([score[i] for i in known], dtype=np.float64)
    weight = np.ones(len(known)) if weights is None else weights[known]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            true, predicted, average="binary", sample_weight=weight
        )
        figures[category] = {
            "support": float(weight[true].sum()),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "balanced_accuracy": metrics.balanced_accuracy_score(true, predicted, sample_weight=weight),
            "average_precision": metrics.average_precision_score(true, score, sample_weight=weight),
            "roc_auc": metrics.roc_auc_score(true, score, sample_weight=weight),
            "brier": metrics.brier_score_loss(true, score, sample_weight=weight),
            "calibration_error": calibration_error(true, score, weight),
        }
print(json.dumps(figures))
