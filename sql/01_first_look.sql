-- What is in the table, and does it show a dog? A path is a table.
SELECT file, collection, classify(image, 'dog') AS is_dog
FROM 'datasets/photos/references/'
WHERE collection = 'animals'
ORDER BY is_dog DESC, file
LIMIT 5;
