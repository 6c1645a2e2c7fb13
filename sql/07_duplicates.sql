-- Files with the same bytes, by the hash that image_info gives.
SELECT image_info(image)['sha256'] AS sha256, count(*) AS copies, min(file) AS one_of_them
FROM 'datasets/photos/embedded/'
GROUP BY sha256
ORDER BY copies DESC, one_of_them
LIMIT 3;
