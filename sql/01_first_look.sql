-- What is in the pictures? A path is a table, and a noun is a question about each image.
SELECT file, collection, label
FROM (
    SELECT file, collection, classify_label(image, ['cat', 'dog', 'horse', 'chair', 'hammer']) AS label
    FROM 'datasets/photos/references/'
)
WHERE label IS NOT NULL
ORDER BY collection, file
LIMIT 6;
