-- Where the model and the people who labelled the photographs disagree about buildings.
SELECT file, truth, round(score, 3) AS score
FROM (
    SELECT file, truth, classify_score(image, 'building') AS score
    FROM 'datasets/photos/embedded/'
)
WHERE (score >= 0.2) <> array_has(truth, 'building')
ORDER BY score DESC;
