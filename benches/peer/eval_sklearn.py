"""The figures of `picsift eval`, without intervals, by scikit-learn: eval_sklearn.py TABLE CATEGORIES."""

import sys

import numpy as np
import pyarrow.parquet as pq
from sklearn import metrics

table, categories = sys.argv[1], int(sys.argv[2])
for category in range(categories):
    names = [f"{column}_c{category}" for column in ("is", "score", "truth")]
    columns = pq.read_table(table, columns=names)
    predicted, score, truth = (np.asarray(columns[name]) for name in names)
    print(
        metrics.precision_recall_fscore_support(truth, predicted, average="binary"),
        metrics.balanced_accuracy_score(truth, predicted),
        metrics.average_precision_score(truth, score),
        metrics.roc_auc_score(truth, score),
        metrics.brier_score_loss(truth, score),
    )
