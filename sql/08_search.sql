-- Photographs that look like one of them: the cosine of their embeddings.
SELECT file, round(similarity(image, load_image('kingfisher_001.jpg', 'datasets/photos/references/images/')), 2) AS near
FROM 'datasets/photos/embedded/'
ORDER BY near DESC, file
LIMIT 5;
