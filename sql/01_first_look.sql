-- What is in the table, and who is in the pictures? A path is a table.
SELECT file, collection, classify(image, 'person') AS is_person
FROM 'datasets/photos/references/'
WHERE collection IN ('music', 'animals')
ORDER BY is_person DESC, file
LIMIT 5;
