-- A category that no model knows: what docs/teaching.md teaches, over the default model's embeddings.
SET picsift.heads = 'datasets/photos/heads.safetensors';
SELECT file, round(classify_score(image, 'windmill'), 2) AS windmill
FROM 'datasets/photos/embedded/'
WHERE classify(image, 'windmill')
ORDER BY windmill DESC, file
LIMIT 5;
