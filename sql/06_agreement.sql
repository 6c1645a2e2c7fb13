-- Where the model and the people who labelled the photographs disagree about fish.
SELECT file, truth, round(score, 3) AS score
FROM (
    SELECT file, truth, classify_score(image, 'fish') AS score
    FROM 'datasets/photos/embedded/'
)
WHERE (score >= 0.2) <> array_has(truth, 'fish')
ORDER BY score DESC;
