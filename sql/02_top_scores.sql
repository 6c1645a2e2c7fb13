-- The ten photographs that show a bird most surely.
SELECT file, round(classify_score(image, 'bird'), 3) AS bird
FROM 'datasets/photos/embedded/photos.parquet'
ORDER BY bird DESC
LIMIT 10;
