//! `planish perplexity`: how well a language model guesses a text, and how far it is from another.

use super::args::{Common, print, print_json};
use super::failure::Failure;
use crate::language::{Feed, Perplexity, Score, Tokenizer};
use crate::model::Model;
use clap::Args;
use planish_runtime::Session;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The tokens of a window, unless the model can read fewer.
pub const WINDOW: usize = 512;

/// Measure how well a language model guesses a text, and how far it is from another model
///
/// The text is cut into windows of tokens. Each token in the second half of a window is guessed from all those before it in
/// the window; the perplexity is e to the mean cost of a token. With --against, the same is done with another model,
/// and the mean of KL(other ‖ model) and the share of equal first choices are told.
#[derive(Args)]
#[command(after_help = "Examples:\n  planish perplexity model.onnx --text text.txt\n  \
    planish perplexity small.onnx --text text.txt --against model.onnx --tokenizer tokenizer.json\n  \
    planish perplexity model.onnx --text text.txt --limit 8 --json")]
pub struct PerplexityOf {
    model: PathBuf,
    /// The text to guess
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// What turns text into tokens [default: tokenizer.json beside the model, or beside that of --against]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// The model to hold this one against
    #[arg(long, value_name = "MODEL")]
    against: Option<PathBuf>,
    /// No more windows than this
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Tokens in a window [default: 512, or the model's own context where that is shorter]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    window: Option<u32>,
    #[command(flatten)]
    common: Common,
}

impl PerplexityOf {
    pub fn run(&self) -> Result<(), Failure> {
        self.common.apply_isa()?;
        let beside: Vec<&Path> = [&self.model].into_iter().chain(&self.against).map(PathBuf::as_path).collect();
        let tokens = read_tokens(&self.text, self.tokenizer.as_deref(), &beside)?;
        let model = self.common.load(&self.model)?;
        let window = self.window.map_or_else(|| WINDOW.min(context(&model).unwrap_or(WINDOW)), |n| n as usize);
        let windows = windows(&tokens, window, self.limit)?;
        let (session, feed) = self.session(model)?;
        let other = self.against.as_deref().map(|path| self.session(self.common.load(path)?)).transpose()?;
        let options = self.common.run_options();
        let bar = self.common.bar(windows.len() as u64, "windows");
        let mut score = Score::default();
        for window in &windows {
            let reference = match &other {
                Some((session, feed)) => Some(Perplexity { session, feed }.logits(window, &options)?),
                None => None,
            };
            let logits = Perplexity { session: &session, feed: &feed }.logits(window, &options)?;
            score.add(&logits.score(window, reference.as_ref())?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let is_compared = other.is_some();
        match self.common.json {
            true => print_json(&document(&score, is_compared)),
            false => print(&render(&score, windows.len(), window, is_compared)),
        }
    }

    fn session(&self, model: Model) -> Result<(Session, Feed), Failure> {
        let feed = Feed::of(&model.graph)?;
        let mut options = self.common.session_options();
        options.only_outputs = Some(vec![feed.logits().to_owned()]);
        Ok((model.into_session(&options)?, feed))
    }
}

/// The tokens of a text file.
pub fn read_tokens(text: &Path, tokenizer: Option<&Path>, models: &[&Path]) -> Result<Vec<i64>, Failure> {
    let contents = std::fs::read(text).map_err(|e| Failure::bad(format!("{}: {e}", text.display())))?;
    let contents = String::from_utf8(contents)
        .map_err(|e| Failure::bad(format!("{}: this is no UTF-8: {}", text.display(), e.utf8_error())))?;
    let found = tokenizer.map(Path::to_owned).or_else(|| Tokenizer::beside(models)).ok_or_else(|| {
        let missing = models.first().map_or_else(PathBuf::new, |model| model.with_file_name("tokenizer.json"));
        Failure::bad(format!("{} is not there", missing.display())).hint("give a tokenizer with --tokenizer FILE")
    })?;
    let tokens = Tokenizer::load(&found)?.encode(&contents)?;
    if tokens.is_empty() {
        return Err(Failure::bad(format!("{}: there is no text in it", text.display())));
    }
    Ok(tokens)
}

/// The most tokens that a model says it reads, in its metadata.
pub fn context(model: &Model) -> Option<usize> {
    let entry = model.info.metadata.iter().find(|(key, _)| key == "context")?;
    entry.1.parse().ok().filter(|&n| n > 1)
}

/// Whole windows of the tokens, one after the other.
pub fn windows(tokens: &[i64], window: usize, limit: Option<u32>) -> Result<Vec<&[i64]>, Failure> {
    let windows: Vec<&[i64]> =
        tokens.chunks_exact(window).take(limit.map_or(usize::MAX, |limit| limit as usize)).collect();
    if windows.is_empty() {
        let text = format!("the text has {} tokens, fewer than one window of {window}", tokens.len());
        return Err(Failure::bad(text).hint("give a longer text, or shorter windows with --window"));
    }
    Ok(windows)
}

fn document(score: &Score, is_compared: bool) -> serde_json::Value {
    let compared = |value: f64| is_compared.then_some(value);
    json!({
        "ppl": score.perplexity(), "kl": compared(score.mean_divergence()), "top1": compared(score.agreement()),
        "tokens": score.tokens, "against_ppl": compared(score.other_perplexity()),
    })
}

fn render(score: &Score, windows: usize, window: usize, is_compared: bool) -> String {
    let mut text = format!("perplexity         {:.4}\n", score.perplexity());
    if is_compared {
        text.push_str(&format!("against            {:.4}\n", score.other_perplexity()));
        text.push_str(&format!("KL divergence      {:.6}\n", score.mean_divergence()));
        text.push_str(&format!("same first choice  {:.2} %\n", 100.0 * score.agreement()));
    }
    text + &format!("tokens             {} in {windows} window(s) of {window}\n", score.tokens)
}
