//! Language models from outside: text to tokens, tokens to the inputs of a model, and how well a model guesses a text.

mod feed;
mod perplexity;
mod tokenizer;

pub use feed::{Feed, LanguageError};
pub use perplexity::{Logits, Perplexity, Score, ScoreError};
pub use tokenizer::Tokenizer;
