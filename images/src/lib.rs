//! From a reference to pixels.
//!
//! A row of a table names an image (a path, a URL) or holds its bytes. This crate [resolves](resolve) the reference,
//! [fetches](Fetcher) the bytes through [object stores](Stores), and [decodes](DecodePool) them to RGB pixels of the
//! [size a model wants](Geometry), within [limits](Limits) that are checked before memory or time is spent, and from
//! where a table [may lead](FetchPolicy).
//!
//! It knows nothing of tables, SQL or models; it meets the model crate on [`RgbPixels`] alone.
//!
//! ```
//! use picsift_images::{Geometry, Limits, prepare};
//!
//! let geometry = Geometry::CentreCrop { short_side: 256, size: 224 };
//! let error = prepare(b"<html>404</html>", geometry, &Limits::default()).unwrap_err();
//! assert_eq!(error.stage().to_string(), "decode");
//! assert_eq!(error.to_string(), "the data is an HTML page, not a JPEG, PNG, WebP, GIF, BMP, TIFF or JPEG XL image");
//! ```

mod address;
mod bmp;
mod bucket;
mod colour;
mod copies;
mod deadline;
mod decode;
mod digest;
mod dns;
mod error;
mod exif;
mod fetch;
mod foreign;
mod format;
mod geometry;
mod gif;
mod hub;
mod hub_store;
mod inline;
mod jpeg;
mod jpegxl;
mod limits;
mod memory;
mod pixels;
mod png;
mod policy;
mod pool;
mod raster;
mod reference;
mod runs;
mod sandbox;
mod secrets;
mod shaper;
mod similarity;
mod stores;
mod tiff;
mod version;
mod webp;
mod work;

pub use bucket::{Bucket, BucketError, BucketKeys};
pub use copies::{DisplayCopies, display_copies};
pub use decode::{ImageInfo, PIXELS_REVISION, image_info, prepare};
pub use digest::{hex, sha256};
pub use dns::Lookup;
pub use error::{Cause, ImageError, Stage};
pub use fetch::{Fetch, Fetched, Fetcher};
pub use geometry::Geometry;
pub use hub::Hub;
pub use limits::Limits;
pub use pixels::RgbPixels;
pub use policy::{AllowedHost, AllowedHostError, FetchOptions, FetchPolicy};
pub use pool::{DecodePool, Prepared};
pub use reference::{beside, is_absolute, may_hold_credential, resolve, shown};
pub use sandbox::{Confinement, Sandbox, serve_decoding};
pub use secrets::{escaped, is_obeyed, redacted};
pub use similarity::similarity_hash;
pub use stores::{Stores, refused_redirect};
pub use version::{Version, VersionError};
