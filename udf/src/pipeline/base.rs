//! The folder that relative references belong to, as a call carries it.
//!
//! [`crate::plan::lineage`] finds it in the plan, or a person types it; data never names one, or a table could be made to read anywhere.
//! A reference whose folder is not known is refused: read from just any folder, it would be another picture.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Int32Type;
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::{Expr, lit};
use picsift_images::{is_absolute, shown};
use url::Url;

use crate::pipeline::checked::{self, Digest};
use crate::pipeline::image_column::{ImageSource, image_names, image_sources};

/// Where relative references belong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Base {
    /// The current folder: the person wrote them into the query.
    Here,
    /// This folder.
    At(Arc<Url>),
    /// Not known; with what the query calls the images.
    Unknown(String),
    /// One of these, as each row says: the call's image is what [`placed`] makes.
    Several(Vec<Base>),
    /// This one, and each image has its digest: the call's image is what [`checked`](crate::pipeline::checked::checked) makes.
    Checked(Box<Base>),
}

/// The folder of one row's reference; `None` is the current one.
pub(crate) type Folder = Option<Arc<Url>>;

/// An image with the folder that its reference, if it is one, is relative to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) image: ImageSource,
    pub(crate) folder: Folder,
    /// What its bytes must be, where its table says so.
    pub(crate) digest: Option<Digest>,
}

/// For each row its image with its folder, and the name of the image.
pub(crate) type Images = (Vec<Option<Placed>>, Vec<Option<String>>);

/// The parts of what [`placed`] makes.
const IMAGE: &str = "image";
const PLACE: &str = "place";

/// An image together with the number of its folder among [`Base::Several`].
pub(crate) fn placed(image: Expr, place: Expr) -> Expr {
    named_struct(vec![lit(IMAGE), image, lit(PLACE), place])
}

impl Base {
    /// The base that a folder is, where it is known.
    pub(crate) fn of(folder: Option<Url>, images: &str) -> Self {
        match folder {
            Some(folder) => Self::At(Arc::new(folder)),
            None => Self::Unknown(images.to_string()),
        }
    }

    /// The image of each row with its folder, and what the table calls it.
    ///
    /// # Errors
    /// For the first relative reference whose folder is not known, and for a column that holds no images.
    pub(crate) fn images(&self, column: &ArrayRef) -> Result<Images> {
        if let Self::Checked(base) = self {
            let (images, digests) = checked::parts(column)?;
            let (mut images, names) = base.images(images)?;
            for (image, digest) in images.iter_mut().zip(digests) {
                if let Some(image) = image {
                    image.digest = digest;
                }
            }
            return Ok((images, names));
        }
        let (images, places) = match self {
            Self::Several(_) => {
                let parts = column.as_struct();
                let (Some(images), Some(places)) =
                    (parts.column_by_name(IMAGE), parts.column_by_name(PLACE))
                else {
                    return internal_err!("images of several folders came without their places");
                };
                (images, Some(places.as_primitive::<Int32Type>()))
            }
            _ => (column, None),
        };
        let sources = image_sources(images)?.into_iter().enumerate();
        let sources = sources.map(|(row, source)| {
            let Some(source) = source else {
                return Ok(None);
            };
            let place = places.and_then(|p| p.is_valid(row).then(|| p.value(row)));
            let folder = self.folder(&source, place)?;
            Ok(Some(Placed {
                image: source,
                folder,
                digest: None,
            }))
        });
        Ok((sources.collect::<Result<_>>()?, image_names(images)?))
    }

    fn folder(&self, source: &ImageSource, place: Option<i32>) -> Result<Folder> {
        let ImageSource::Reference(reference) = source else {
            return Ok(None);
        };
        match self {
            Self::Here => Ok(None),
            Self::At(folder) => Ok(Some(Arc::clone(folder))),
            // What is empty is no reference to any folder, and fails by itself.
            Self::Unknown(_) if is_absolute(reference) || reference.trim().is_empty() => Ok(None),
            Self::Unknown(images) => exec_err!(
                "the reference '{}' in {} is relative, and the folder that it belongs to is not known; name it with \
                 SET picsift.base = 'FOLDER' or load_image({}, 'FOLDER')",
                shown(reference),
                shown(images),
                shown(images)
            ),
            Self::Checked(base) => base.folder(source, place),
            Self::Several(bases) => {
                let place = place.and_then(|place| usize::try_from(place).ok());
                match place.and_then(|place| bases.get(place)) {
                    Some(base) => base.folder(source, None),
                    // A row that an outer join padded, with a reference that the query made of it.
                    None => {
                        Self::Unknown("a row without a partner".to_string()).folder(source, None)
                    }
                }
            }
        }
    }
}

/// The folder that a person names, as a URL: a path, relative to the current folder, or a URL.
///
/// # Errors
/// In one sentence, where it is no folder.
pub(crate) fn typed_folder(text: &str) -> std::result::Result<Url, String> {
    let mut url = picsift_images::resolve(text, None).map_err(|error| error.to_string())?;
    if url.scheme() == "file" {
        let path = url
            .to_file_path()
            .map_err(|()| format!("'{text}' names no folder of this machine"))?;
        if !path.is_dir() {
            let what = match path.exists() {
                true => "is a file, not a folder",
                false => "does not exist",
            };
            return Err(format!("the folder '{}' {what}", shown(text)));
        }
    }
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push("");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_folder_is_there_and_ends_with_a_slash() {
        let root = tempfile::tempdir().unwrap();
        let text = root.path().display().to_string();
        for typed in [text.clone(), format!("{text}/")] {
            let url = typed_folder(&typed).unwrap();
            assert_eq!(url, Url::from_directory_path(root.path()).unwrap());
        }
        let file = root.path().join("t.parquet");
        std::fs::write(&file, "").unwrap();
        let error = typed_folder(&file.display().to_string()).unwrap_err();
        assert!(error.contains("is a file, not a folder"), "{error}");
        let error = typed_folder(&format!("{text}/none")).unwrap_err();
        assert!(error.contains("does not exist"), "{error}");
        let error = typed_folder("ftp://host/x").unwrap_err();
        assert!(error.contains("unsupported scheme 'ftp'"), "{error}");
        assert!(typed_folder("").is_err());
        assert_eq!(
            typed_folder("s3://bucket/photos").unwrap().as_str(),
            "s3://bucket/photos/"
        );
    }
}
