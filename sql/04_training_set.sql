-- A training set: partitioned Parquet of labelled references, ready to be read by any tool.
COPY (
    SELECT file, license, author, classify_label(image, ['fish', 'bird', 'reptile', 'mammal']) AS label
    FROM 'datasets/photos/references/'
    WHERE collection = 'animals'
) TO 'out/animals/' STORED AS PARQUET PARTITIONED BY (label);
