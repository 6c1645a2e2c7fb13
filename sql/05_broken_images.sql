-- Which files cannot be used, and why: errors are values, and the other rows go on.
SELECT file, error
FROM (
    SELECT file, try_classify(load_image(file, 'datasets/photos/'), 'fish')['error'] AS error
    FROM (VALUES ('references/images/fish27_149.jpg'), ('photos.csv'), ('missing.jpg')) AS files(file)
)
WHERE error IS NOT NULL
ORDER BY file;
