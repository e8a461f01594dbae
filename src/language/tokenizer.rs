//! Text to tokens, by the `tokenizer.json` that comes with a model.

use crate::data::DataError;
use std::path::{Path, PathBuf};

/// What a tokenizer's file is called.
const FILE_NAME: &str = "tokenizer.json";

/// Turns text into the tokens of a model.
pub struct Tokenizer(tokenizers::Tokenizer);

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn load(path: &Path) -> Result<Tokenizer, DataError> {
        // Opened first, for the message of a file that is not there.
        let json = std::fs::read(path).map_err(|e| DataError::new(path.display(), e.to_string()))?;
        let tokenizer = tokenizers::Tokenizer::from_bytes(json)
            .map_err(|e| DataError::new(path.display(), format!("this is no tokenizer: {e}")))?;
        Ok(Tokenizer(tokenizer))
    }

    /// The `tokenizer.json` in the folder of one of these models, the first that there is.
    pub fn beside(models: &[&Path]) -> Option<PathBuf> {
        models.iter().map(|model| model.with_file_name(FILE_NAME)).find(|path| path.is_file())
    }

    /// The tokens of a text, with those that the tokenizer puts around every text.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>, DataError> {
        let failed = |e: tokenizers::Error| DataError::new("the text", format!("it has no tokens: {e}"));
        let encoding = self.0.encode(text, true).map_err(failed)?;
        Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokenizer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_the_small_model_are_its_tokens() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/charlm");
        let found = Tokenizer::beside(&[Path::new("nowhere/model.onnx"), &folder.join("model.onnx")]).unwrap();
        let tokenizer = Tokenizer::load(&found).unwrap();
        assert_eq!(tokenizer.encode("\n !A").unwrap(), [0, 1, 2, 34]);
    }

    #[test]
    fn other_files_are_refused() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/charlm");
        let message = Tokenizer::load(&folder.join("expected.json")).unwrap_err().to_string();
        assert!(message.contains("no tokenizer"), "{message}");
        assert!(Tokenizer::load(&folder.join("none.json")).is_err());
        assert_eq!(Tokenizer::beside(&[Path::new("nowhere/model.onnx")]), None);
    }
}
