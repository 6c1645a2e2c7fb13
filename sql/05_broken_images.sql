-- Which files cannot be used, and why: the errors are values.
SELECT file, try_classify(image, 'fish')['error'] AS error
FROM 'datasets/photos/references/'
WHERE image_info(image)['width'] < 400 OR image_info(image) IS NULL
ORDER BY file
LIMIT 10;
