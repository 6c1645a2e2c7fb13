-- A cheap model looks at every picture first, and the session's own is asked where that is not sure enough: what docs/cascade.md calls a
-- cascade, calibrated over these photographs. EXPLAIN ANALYZE before the query counts the pictures that the dear model is spared: half.
SET picsift.model = 'coco-ssd';
SET picsift.cascade = 'datasets/photos/cascade.toml';
SELECT file, round(classify_score(image, 'person'), 2) AS person
FROM 'datasets/photos/embedded/'
WHERE classify(image, 'person')
ORDER BY person DESC, file
LIMIT 5;
