//! Settings: flags over environment over a TOML file over defaults, each checked at the start.
//!
//! A setting is a key and a text, from wherever it comes; `limits.NAME` is the key of a limit.
//! Later layers replace the same key of earlier ones, so that two limits from two places both hold.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use crate::embed::remote::{ApiKey, RemoteModel};
use crate::types::{EmbedderRef, Limits, NewLibrary};

/// What the environment's variables begin with; the rest is the key in upper case.
const PREFIX: &str = "ARRWDB_";

/// What the variables of limits begin with.
const LIMITS_PREFIX: &str = "ARRWDB_LIMITS_";

/// All keys but the limits.
const KEYS: [&str; 6] =
    ["data_dir", "listen", "durability", "log_format", "log_filter", "cors_origins"];

/// The flags of every command that runs a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct SettingsArgs {
    /// A settings file in TOML, with these flags' names as keys (`data_dir = "…"`), a `[limits]`
    /// table, and an `[embedders.NAME]` table for each remote model [env: ARRWDB_CONFIG]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// The folder that holds all data; made when it does not exist [env: ARRWDB_DATA_DIR] [default:
    /// ./arrwdb-data]
    #[arg(long, value_name = "PATH")]
    pub data_dir: Option<String>,
    /// The address to serve gRPC and HTTP on; port 0 takes a free one [env: ARRWDB_LISTEN]
    /// [default: 127.0.0.1:8000]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// What an acknowledged write survives: `fsync`, a power failure; `os`, a crash of arrwdb alone
    /// [env: ARRWDB_DURABILITY] [default: fsync]
    #[arg(long, value_name = "fsync|os")]
    pub durability: Option<String>,
    /// How logs are written to standard error: `human` or `json` [env: ARRWDB_LOG_FORMAT] [default:
    /// human]
    #[arg(long, value_name = "human|json")]
    pub log_format: Option<String>,
    /// What is logged, for example `info` or `warn,arrwdb=debug` [env: ARRWDB_LOG_FILTER] [default:
    /// info]
    #[arg(long, value_name = "FILTER")]
    pub log_filter: Option<String>,
    /// Web origins, separated by commas, whose pages may use this server from a browser; `*` for
    /// all [env: ARRWDB_CORS_ORIGINS] [default: none]
    #[arg(long, value_name = "ORIGINS")]
    pub cors_origins: Option<String>,
    /// Begins a new epoch: give it once, at the first start on a folder restored from a backup, so
    /// that clients which have read beyond the backup are told instead of being misled
    #[arg(long)]
    pub new_epoch: bool,
    /// Sets a limit, for example `text_bytes_max=2097152`; may be given many times [env:
    /// ARRWDB_LIMITS_NAME, for example ARRWDB_LIMITS_TEXT_BYTES_MAX]
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    pub limits: Vec<String>,
}

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A power failure: the log is fsynced first.
    #[default]
    Fsync,
    /// A crash of this process alone: the operating system has it.
    Os,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// For programs: one JSON object a line.
    Json,
}

/// All settings, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The folder that holds all data.
    pub data_dir: PathBuf,
    /// The address to serve on, HOST:PORT.
    pub listen: String,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// Whether this start begins a new epoch; a flag only, since it is meant for one start.
    pub new_epoch: bool,
    /// How logs are written.
    pub log_format: LogFormat,
    /// What is logged, in `tracing`'s directives.
    pub log_filter: String,
    /// Web origins whose pages may use this server; `*` for all; empty for none.
    pub cors_origins: Vec<String>,
    /// Remote models by the name that libraries ask for them with; in the file only.
    pub embedders: BTreeMap<String, RemoteEmbedderSettings>,
    /// All limits.
    pub limits: Limits,
}

/// A remote model, and its key from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteEmbedderSettings {
    /// Which, and where.
    pub model: RemoteModel,
    /// What the variable `api_key_env` says.
    pub key: Option<ApiKey>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: "./arrwdb-data".into(),
            listen: "127.0.0.1:8000".to_owned(),
            durability: Durability::default(),
            new_epoch: false,
            log_format: LogFormat::default(),
            log_filter: "info".to_owned(),
            cors_origins: Vec::new(),
            embedders: BTreeMap::new(),
            limits: Limits::default(),
        }
    }
}

/// A setting that is wrong: which, where it comes from, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} (from {origin}): {why}")]
pub struct SettingsError {
    /// The key, for example `listen` or `limits.text_bytes_max`.
    pub key: String,
    /// Where it was given: a flag, a variable or a file.
    pub origin: String,
    /// What is wrong with it and what is allowed.
    pub why: String,
}

/// A setting's text and where it was given.
#[derive(Debug)]
struct Given {
    text: String,
    origin: String,
}

impl Given {
    fn wrong(&self, key: &str, allowed: &str) -> SettingsError {
        SettingsError {
            key: key.to_owned(),
            origin: self.origin.clone(),
            why: format!("{:?} is not {allowed}", self.text),
        }
    }
}

/// Settings by key; what is inserted later replaces what was there.
type Layers = BTreeMap<String, Given>;

/// Calls to one model at once, at most: each holds a connection.
const CALLS_IN_FLIGHT_MAX: usize = 256;

/// Texts of one call, at most: as many as the most generous provider takes.
const CALL_TEXTS_MAX: usize = 2_048;

impl Settings {
    /// Reads the file that `--config` or `ARRWDB_CONFIG` names, puts the environment over it and
    /// the flags over that. An empty variable counts as not set. The first wrong setting is an
    /// error that names its key, its origin and what is allowed.
    pub fn load(
        args: &SettingsArgs,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let environment: BTreeMap<String, String> =
            environment.into_iter().filter(|(_, text)| !text.is_empty()).collect();
        let (mut layers, mut embedders) = (Layers::new(), None);
        let config =
            args.config.clone().or_else(|| environment.get("ARRWDB_CONFIG").map(PathBuf::from));
        if let Some(path) = config {
            let origin = path.display().to_string();
            let text = std::fs::read_to_string(&path).map_err(|error| SettingsError {
                key: "config".to_owned(),
                origin: origin.clone(),
                why: error.to_string(),
            })?;
            let table = read_file(&text, &origin, &mut layers)?;
            embedders = table.map(|table| (table, origin));
        }
        read_environment(&environment, &mut layers);
        read_flags(args, &mut layers)?;
        let mut settings = resolve(&layers)?;
        settings.new_epoch = args.new_epoch;
        if let Some((table, origin)) = embedders {
            settings.embedders =
                read_embedders(table, &origin, &environment, settings.limits.dimension_max)?;
        }
        Ok(settings)
    }

    /// [`Settings::load`] with this process's environment.
    pub fn load_here(args: &SettingsArgs) -> Result<Self, SettingsError> {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        Self::load(args, std::env::vars_os().map(|(name, value)| (text(name), text(value))))
    }
}

/// Gives the table of embedders beside.
fn read_file(
    text: &str,
    origin: &str,
    layers: &mut Layers,
) -> Result<Option<toml::Table>, SettingsError> {
    let mut embedders = None;
    let wrong = |key: &str, why: String| SettingsError {
        key: key.to_owned(),
        origin: origin.to_owned(),
        why,
    };
    let table: toml::Table =
        text.parse().map_err(|error| wrong("config", format!("not TOML: {error}")))?;
    let mut give = |key: String, text: String| {
        layers.insert(key, Given { text, origin: origin.to_owned() });
    };
    for (key, value) in table {
        if let (toml::Value::Table(limits), "limits") = (&value, key.as_str()) {
            for (name, value) in limits {
                let key = format!("limits.{name}");
                let number = value.as_integer();
                let number = number.ok_or_else(|| wrong(&key, "must be a whole number".into()))?;
                give(key, number.to_string());
            }
        } else if let ("embedders", toml::Value::Table(table)) = (key.as_str(), &value) {
            embedders = Some(table.clone());
        } else if let (toml::Value::Array(items), "cors_origins") = (&value, key.as_str()) {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            let texts = texts.ok_or_else(|| wrong(&key, "must hold texts".into()))?;
            give(key, texts.join(","));
        } else if ["limits", "embedders"].contains(&key.as_str()) {
            return Err(wrong(&key, "must be a table".to_owned()));
        } else if !KEYS.contains(&key.as_str()) {
            let keys = KEYS.join(", ");
            let why = format!("there is no such key; there are {keys}, limits, embedders");
            return Err(wrong(&key, why));
        } else if let Some(text) = value.as_str() {
            give(key, text.to_owned());
        } else {
            return Err(wrong(&key, "must be a text".to_owned()));
        }
    }
    Ok(embedders)
}

/// Remote models by name, each with its key, no two of them the same model.
fn read_embedders(
    table: toml::Table,
    origin: &str,
    environment: &BTreeMap<String, String>,
    dimension_max: usize,
) -> Result<BTreeMap<String, RemoteEmbedderSettings>, SettingsError> {
    let mut embedders: BTreeMap<String, RemoteEmbedderSettings> = BTreeMap::new();
    for (name, value) in table {
        let wrong = |field: &str, why: String| SettingsError {
            key: format!("embedders.{name}{field}"),
            origin: origin.to_owned(),
            why,
        };
        if [NewLibrary::DEFAULT_EMBEDDER, EmbedderRef::NONE].contains(&name.as_str()) {
            return Err(wrong("", "is taken: give it another name".to_owned()));
        }
        let model: RemoteModel =
            value.try_into().map_err(|error: toml::de::Error| wrong("", error.to_string()))?;
        let range = |field: &str, number: usize, most: usize| match (1..=most).contains(&number) {
            true => Ok(()),
            false => Err(wrong(field, format!("{number} is not a number from 1 to {most}"))),
        };
        range(".dimension", model.dimension, dimension_max)?;
        range(".call_texts_max", model.call_texts_max, CALL_TEXTS_MAX)?;
        range(".calls_in_flight_max", model.calls_in_flight_max, CALLS_IN_FLIGHT_MAX)?;
        let scheme = ["http://", "https://"].iter().any(|scheme| model.url.starts_with(scheme));
        if !scheme || model.url.parse::<http::Uri>().is_err() {
            let why = format!("{:?} is not a URL, as https://api.openai.com/v1 is", model.url);
            return Err(wrong(".url", why));
        }
        let key = match &model.api_key_env {
            None => None,
            Some(variable) => {
                let key = environment.get(variable).and_then(|key| ApiKey::new(key));
                let why = || format!("the environment variable {variable} has no key");
                Some(key.ok_or_else(|| wrong(".api_key_env", why()))?)
            }
        };
        let same = |other: &RemoteEmbedderSettings| other.model.reference() == model.reference();
        if let Some((other, _)) = embedders.iter().find(|(_, other)| same(other)) {
            return Err(wrong("", format!("is the same model as embedders.{other}")));
        }
        embedders.insert(name, RemoteEmbedderSettings { model, key });
    }
    Ok(embedders)
}

fn read_environment(environment: &BTreeMap<String, String>, layers: &mut Layers) {
    for (variable, text) in environment {
        let key = match variable.strip_prefix(LIMITS_PREFIX) {
            Some(name) => format!("limits.{}", name.to_ascii_lowercase()),
            None => match variable.strip_prefix(PREFIX).map(str::to_ascii_lowercase) {
                Some(key) if KEYS.contains(&&*key) => key,
                _ => continue,
            },
        };
        layers.insert(key, Given { text: text.clone(), origin: variable.clone() });
    }
}

fn read_flags(args: &SettingsArgs, layers: &mut Layers) -> Result<(), SettingsError> {
    let flags = [
        ("data_dir", "--data-dir", &args.data_dir),
        ("listen", "--listen", &args.listen),
        ("durability", "--durability", &args.durability),
        ("log_format", "--log-format", &args.log_format),
        ("log_filter", "--log-filter", &args.log_filter),
        ("cors_origins", "--cors-origins", &args.cors_origins),
    ];
    for (key, flag, text) in flags {
        if let Some(text) = text.clone() {
            layers.insert(key.to_owned(), Given { text, origin: flag.to_owned() });
        }
    }
    for limit in &args.limits {
        let origin = "--limit".to_owned();
        let Some((name, text)) = limit.split_once('=') else {
            let given = Given { text: limit.clone(), origin };
            return Err(given.wrong("limits", "NAME=VALUE"));
        };
        let key = format!("limits.{}", name.trim());
        layers.insert(key, Given { text: text.trim().to_owned(), origin });
    }
    Ok(())
}

fn resolve(layers: &Layers) -> Result<Settings, SettingsError> {
    let mut settings = Settings::default();
    for (key, given) in layers {
        let text = given.text.as_str();
        match key.as_str() {
            "data_dir" if text.is_empty() => return Err(given.wrong(key, "a folder")),
            "data_dir" => settings.data_dir = text.into(),
            "listen" if is_address(text) => settings.listen = text.to_owned(),
            "listen" => return Err(given.wrong(key, "HOST:PORT, for example 127.0.0.1:8000")),
            "durability" => {
                settings.durability = match text {
                    "fsync" => Durability::Fsync,
                    "os" => Durability::Os,
                    _ => return Err(given.wrong(key, "fsync or os")),
                }
            }
            "log_format" => {
                settings.log_format = match text {
                    "human" => LogFormat::Human,
                    "json" => LogFormat::Json,
                    _ => return Err(given.wrong(key, "human or json")),
                }
            }
            "log_filter" if EnvFilter::try_new(text).is_ok() => {
                settings.log_filter = text.to_owned();
            }
            "log_filter" => {
                return Err(given.wrong(key, "a filter, for example info or warn,arrwdb=debug"));
            }
            "cors_origins" => {
                let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
                settings.cors_origins = origins.map(str::to_owned).collect();
                if !settings.cors_origins.iter().all(|origin| is_origin(origin)) {
                    let allowed = "a list of origins, for example https://app.example, or *";
                    return Err(given.wrong(key, allowed));
                }
            }
            _ => {}
        }
    }
    settings.limits = limits(layers)?;
    Ok(settings)
}

fn limits(layers: &Layers) -> Result<Limits, SettingsError> {
    let broken = |error: serde_json::Error| SettingsError {
        key: "limits".to_owned(),
        origin: "defaults".to_owned(),
        why: error.to_string(),
    };
    let defaults = serde_json::to_value(Limits::default()).map_err(broken)?;
    let serde_json::Value::Object(mut limits) = defaults else {
        return Ok(Limits::default());
    };
    for (key, given) in layers {
        let Some(name) = key.strip_prefix("limits.") else { continue };
        if !limits.contains_key(name) {
            let names: Vec<_> = limits.keys().map(String::as_str).collect();
            return Err(SettingsError {
                key: key.clone(),
                origin: given.origin.clone(),
                why: format!("there is no such limit; there are {}", names.join(", ")),
            });
        }
        // At most what a TOML file can say, which also fits wherever limits are added up.
        let number = given.text.parse().ok().filter(|n| (1..=i64::MAX as u64).contains(n));
        let number = number.ok_or_else(|| given.wrong(key, "a whole number greater than 0"))?;
        limits.insert(name.to_owned(), number.into());
    }
    serde_json::from_value(serde_json::Value::Object(limits)).map_err(broken)
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bare_ipv6 = host.contains(':') && !host.starts_with('[');
        !host.is_empty() && !bare_ipv6 && port.parse::<u16>().is_ok()
    })
}

fn is_origin(text: &str) -> bool {
    let authority = text.split_once("://").map(|(_, authority)| authority);
    text == "*"
        || authority.is_some_and(|authority| {
            let visible = authority.bytes().all(|b| b.is_ascii_graphic());
            !authority.is_empty() && visible && !authority.contains('/')
        })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: SettingsArgs,
    }

    fn args(flags: &[&str]) -> SettingsArgs {
        Flags::try_parse_from(["arrwdb"].iter().chain(flags)).expect("flags").settings
    }

    fn load(flags: &[&str], environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Settings::load(&args(flags), environment)
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    #[test]
    fn flags_beat_the_environment_beats_the_file_beats_the_defaults() {
        let file = file(
            "data_dir = \"file\"\nlisten = \"file:1\"\nlog_format = \"json\"\n\
             cors_origins = [\"http://a\", \"http://b\"]\n\
             [limits]\ntext_bytes_max = 1\ntitle_bytes_max = 1\nfield_bytes_max = 1\n",
        );
        let environment = [
            ("ARRWDB_CONFIG", file.path().to_str().expect("text")),
            ("ARRWDB_DATA_DIR", "environment"),
            ("ARRWDB_LISTEN", "environment:2"),
            ("ARRWDB_LIMITS_TEXT_BYTES_MAX", "2"),
            ("ARRWDB_LIMITS_TITLE_BYTES_MAX", "2"),
            ("ARRWDB_DURABILITY", ""),
            ("ARRWDB_SOMETHING_ELSE", "x"),
        ];
        let flags = ["--data-dir", "flag", "--limit", "text_bytes_max=3"];
        let settings = load(&flags, &environment).expect("valid");
        assert_eq!(settings.data_dir, PathBuf::from("flag"));
        assert_eq!(settings.listen, "environment:2");
        assert_eq!(settings.log_format, LogFormat::Json);
        assert_eq!(settings.cors_origins, ["http://a", "http://b"]);
        let limits = &settings.limits;
        let set = (limits.text_bytes_max, limits.title_bytes_max, limits.field_bytes_max);
        assert_eq!(set, (3, 2, 1));
        assert_eq!(settings.durability, Durability::Fsync);
        assert_eq!(limits.tags_per_document_max, Limits::default().tags_per_document_max);
        assert_eq!(load(&[], &[]), Ok(Settings::default()));
    }

    #[test]
    fn remote_models_are_in_the_file_and_their_keys_in_the_environment() {
        let small = "[embedders.small]\nprovider = \"openai\"\nurl = \"https://api.openai.com/v1\"\n\
                     model = \"m\"\ndimension = 8\n";
        let read = |text: &str| {
            let file = file(text);
            let path = file.path().to_str().expect("text");
            let loaded = load(&["--config", path], &[("OPENAI_KEY", "sesame")]);
            loaded.map_err(|error| (error.key, error.why))
        };
        let settings = read(&format!("{small}api_key_env = \"OPENAI_KEY\"\n")).expect("valid");
        let embedder = &settings.embedders["small"];
        assert_eq!(embedder.key, ApiKey::new("sesame"));
        let model = &embedder.model;
        assert_eq!((model.call_texts_max, model.calls_in_flight_max), (96, 4));
        assert!(!format!("{settings:?}").contains("sesame"));

        let refused = |text: &str| read(text).expect_err("refused");
        let key = |key: &str| format!("embedders.{key}");
        let wrong = [
            (small.replace("small", "default"), key("default"), "taken"),
            (small.replace("small", "none"), key("none"), "taken"),
            (small.replace("\"openai\"", "\"open\""), key("small"), "unknown variant"),
            (small.replace("model =", "name ="), key("small"), "unknown field"),
            (small.replace("https", "file"), key("small.url"), "is not a URL"),
            (small.replace('8', "0"), key("small.dimension"), "from 1 to 8192"),
            (format!("{small}calls_in_flight_max = 0"), key("small.calls_in_flight_max"), "from 1"),
            (format!("{small}call_texts_max = 9999"), key("small.call_texts_max"), "to 2048"),
            (format!("{small}api_key_env = \"X\""), key("small.api_key_env"), "variable X"),
            (format!("{small}{}", small.replace("small", "x")), key("x"), "as embedders.small"),
            ("embedders = 1".to_owned(), "embedders".to_owned(), "a table"),
        ];
        for (text, key, why) in wrong {
            let told = refused(&text);
            assert!(told.0 == key && told.1.contains(why), "{told:?} of {text}");
        }
    }

    #[test]
    fn a_wrong_setting_is_told_by_key_origin_and_what_is_allowed() {
        let told = |flags: &[&str], environment: &[(&str, &str)]| {
            load(flags, environment).expect_err("wrong").to_string()
        };
        assert_eq!(
            told(&["--listen", "8000"], &[]),
            "listen (from --listen): \"8000\" is not HOST:PORT, for example 127.0.0.1:8000"
        );
        assert_eq!(
            told(&[], &[("ARRWDB_DURABILITY", "maybe")]),
            "durability (from ARRWDB_DURABILITY): \"maybe\" is not fsync or os"
        );
        assert_eq!(
            told(&["--limit", "text_bytes_max=0"], &[]),
            "limits.text_bytes_max (from --limit): \"0\" is not a whole number greater than 0"
        );
        assert!(
            told(&["--limit", "x=1"], &[])
                .starts_with("limits.x (from --limit): there is no such limit; there are ")
        );
        assert_eq!(told(&["--limit", "x"], &[]), "limits (from --limit): \"x\" is not NAME=VALUE");
        assert!(
            told(&[], &[("ARRWDB_LIMITS_X", "1")]).starts_with("limits.x (from ARRWDB_LIMITS_X)")
        );
        for (flag, key) in [
            ("--log-format", "log_format"),
            ("--log-filter", "log_filter"),
            ("--cors-origins", "cors_origins"),
        ] {
            let told = told(&[flag, "a=b=c"], &[]);
            assert!(told.starts_with(&format!("{key} (from {flag}): ")), "{told}");
        }
        assert!(told(&["--config", "/nonexistent"], &[]).starts_with("config (from /nonexistent)"));
    }

    #[test]
    fn a_wrong_file_is_told_by_key() {
        let key = |text: &str| {
            let file = file(text);
            let path = file.path().to_str().expect("text");
            let error = load(&["--config", path], &[]).expect_err("wrong");
            assert_eq!(error.origin, path);
            error.key
        };
        assert_eq!(key("listn = \"a:1\""), "listn");
        assert_eq!(key("listen = 8000"), "listen");
        assert_eq!(key("cors_origins = [1]"), "cors_origins");
        assert_eq!(key("limits = 1"), "limits");
        assert_eq!(key("[limits]\ntext_bytes_max = \"1\""), "limits.text_bytes_max");
        assert_eq!(key("[limits]\ntext_bytes_max = -1"), "limits.text_bytes_max");
        assert_eq!(key("[limits]\nnothing = 1"), "limits.nothing");
        assert_eq!(key("= what"), "config");
    }

    #[test]
    fn addresses_and_origins_are_checked() {
        for good in ["127.0.0.1:0", "localhost:8000", "[::1]:8000", "0.0.0.0:65535"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", ":8000", "localhost", "localhost:", "::1:8000", "h:65536"] {
            assert!(!is_address(bad), "{bad}");
        }
        for good in ["*", "https://a.example", "http://localhost:5173", "tauri://localhost"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["", "a.example", "http://", "http://a/", "http://a b"] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
