-- How many photographs of each collection show what.
SELECT collection, classify_label(image, ['person', 'animal', 'building', 'tool', 'vehicle']) AS label, count(*) AS photographs
FROM 'datasets/photos/references/'
GROUP BY collection, label
ORDER BY collection, photographs DESC;
