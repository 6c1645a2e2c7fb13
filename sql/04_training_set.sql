-- A training set: partitioned Parquet of labelled references, ready to be read by any tool. Run again, it is replaced.
COPY (
    SELECT file, license, author, classify_label(image, ['fish', 'bird', 'reptile', 'mammal']) AS label
    FROM 'datasets/photos/references/'
    WHERE collection = 'animals'
) TO 'out/animals/' (FORMAT parquet, PARTITION_BY (label), OVERWRITE);
