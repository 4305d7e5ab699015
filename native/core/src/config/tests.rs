use url::Url;

use super::*;
use crate::model::error::Kind;

const HOME: (&str, &str) = ("HOME", "/home/ada");

fn resolve(options: &ClientOptions, variables: &[(&str, &str)]) -> Result<Config> {
    let variables = std::iter::once(&HOME).chain(variables).copied();
    Config::resolve_in(options, &Environment::of(variables))
}

fn from_environment(variables: &[(&str, &str)]) -> Config {
    resolve(&ClientOptions::default(), variables).unwrap()
}

/// Fails with what makes requests impossible. Everything else is there.
fn unusable(variables: &[(&str, &str)]) -> Result<()> {
    let config = from_environment(variables);
    assert!(config.hub_cache.is_absolute() && config.token.is_none());
    config.unusable.map_or(Ok(()), Err)
}

/// The field that an error names.
fn field<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    error.context().field.clone().unwrap()
}

/// With an empty environment, everything has huggingface_hub's default.
#[test]
fn an_empty_environment_means_the_defaults() {
    let config = from_environment(&[]);
    assert_eq!(config.endpoint.as_str(), "https://huggingface.co");
    assert_eq!(config.token, None);
    assert_eq!(config.hub_cache, PathBuf::from("/home/ada/.cache/huggingface/hub"));
    assert_eq!(config.xet_cache, PathBuf::from("/home/ada/.cache/huggingface/xet"));
    assert_eq!((config.max_concurrent_downloads, config.max_attempts), (8, 6));
    assert_eq!(config.deadlines, Deadlines::DEFAULT);
    assert_eq!(config.max_bytes_per_second, None);
    assert_eq!(config.etag_timeout, Duration::from_secs(10));
    assert!(!config.offline && !config.disable_symlinks);
    assert!(!config.disable_shared_blobs && !config.disable_telemetry);
}

/// The endpoint is the caller's, else staging, else `HF_ENDPOINT`; slashes at its end are cut.
#[test]
fn the_endpoint_is_found_in_order() {
    for (given, variables, expected) in [
        (None, &[("HF_ENDPOINT", "https://mirror.example/hf//")][..], "https://mirror.example/hf"),
        (None, &[("HF_ENDPOINT", "http://127.0.0.1:8080/")][..], "http://127.0.0.1:8080"),
        (None, &[("HF_ENDPOINT", "")][..], "https://huggingface.co"),
        (
            None,
            &[("HF_ENDPOINT", "https://a.example"), ("HUGGINGFACE_CO_STAGING", "yes")][..],
            "https://hub-ci.huggingface.co",
        ),
        (Some("https://b.example"), &[("HUGGINGFACE_CO_STAGING", "1")][..], "https://b.example"),
    ] {
        let options =
            ClientOptions { endpoint: given.map(str::to_owned), ..ClientOptions::default() };
        let config = resolve(&options, variables).unwrap();
        assert_eq!(config.endpoint.as_str(), expected, "{given:?} {variables:?}");
    }
}

/// What can't be the address of a Hub is refused, and a password in it isn't repeated.
#[test]
fn a_bad_endpoint_is_refused() {
    for text in [
        "",
        "huggingface.co",
        "ftp://hub.example",
        "http://",
        "https://hub.example?x=1",
        "https://hub.example/#x",
        "https://ada:hunter2@hub.example",
        "https://ada:hunter2@:80",
    ] {
        let options = ClientOptions { endpoint: Some(text.to_owned()), ..ClientOptions::default() };
        let error = resolve(&options, &[]).unwrap_err();
        assert_eq!(error.context().field.as_deref(), Some("options.endpoint"), "{text}");
        assert!(!error.message().contains("hunter2"), "{error}");
    }
    assert_eq!(field(unusable(&[("HF_ENDPOINT", "hub")])), "HF_ENDPOINT");
}

/// Answers that name the public Hub mean the mirror that they came through; other URLs mean what
/// they say.
#[test]
fn public_urls_are_localized_to_a_mirror() {
    let mirror = Endpoint::parse("endpoint", "http://mirror.example:81/hf").unwrap();
    let public = Endpoint::parse("endpoint", Endpoint::DEFAULT).unwrap();
    let page = "https://huggingface.co/api/models/a/tree/main?cursor=x%3D";
    for (endpoint, url, expected) in [
        (&mirror, page, "http://mirror.example:81/hf/api/models/a/tree/main?cursor=x%3D"),
        (&public, page, page),
        (&mirror, "https://huggingface.co.evil/x", "https://huggingface.co.evil/x"),
        (&mirror, "http://mirror.example:81/y", "http://mirror.example:81/y"),
    ] {
        assert_eq!(endpoint.localize(Url::parse(url).unwrap()).as_str(), expected);
    }
}

/// The caller's token beats the variables, which beat each other in order; blanks around one are
/// cut.
#[test]
fn the_token_is_found_in_order() {
    let both = [("HF_TOKEN", " hf_new\r\n"), ("HUGGING_FACE_HUB_TOKEN", "hf_old")];
    for (given, anonymous, variables, expected) in [
        (Some("hf_mine"), false, &both[..], Some("hf_mine")),
        (Some(" hf_mine\n"), false, &both[..], Some("hf_mine")),
        (Some(""), false, &both[..], Some("hf_new")),
        (Some(" \t\n"), false, &both[..], Some("hf_new")),
        (Some(" "), false, &[][..], None),
        (Some(" "), true, &both[..], None),
        (None, false, &both[..], Some("hf_new")),
        (None, false, &both[1..], Some("hf_old")),
        (None, false, &[("HF_TOKEN", " \n"), both[1]][..], None),
        (None, true, &both[..], None),
        (None, false, &[both[0], ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")][..], None),
        (Some("hf_mine"), false, &[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")][..], Some("hf_mine")),
    ] {
        let options = ClientOptions {
            token: given.map(str::to_owned),
            anonymous,
            ..ClientOptions::default()
        };
        let token = resolve(&options, variables).unwrap().token;
        assert_eq!(token.as_ref().map(Token::secret), expected, "{given:?} {variables:?}");
    }
    let options = ClientOptions {
        token: Some("hf_mine".to_owned()),
        anonymous: true,
        ..ClientOptions::default()
    };
    assert_eq!(field(resolve(&options, &[])), "options.token");
}

/// Without a variable, the token is in huggingface_hub's file; no file means anonymous, an
/// unreadable one is an error.
#[test]
fn the_token_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let token = |variables: &[(&str, &str)]| {
        resolve(&ClientOptions::default(), variables)
            .map(|c| c.token.map(|t| t.secret().to_owned()))
    };
    assert_eq!(token(&[("HF_HOME", home)]).unwrap(), None);
    std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
    assert_eq!(token(&[("HF_HOME", home)]).unwrap().as_deref(), Some("hf_file"));
    std::fs::write(folder.path().join("other"), "hf_other").unwrap();
    let other = [("X", home), ("HF_TOKEN_PATH", "$X/other")];
    assert_eq!(token(&other).unwrap().as_deref(), Some("hf_other"));
    assert_eq!(unusable(&[("HF_TOKEN_PATH", home)]).unwrap_err().kind(), Kind::Io);
}

/// A token that can't be sent is refused without being shown, wherever it comes from.
#[test]
fn a_malformed_token_is_refused_unseen() {
    for secret in ["hf_sec ret", "hf_sec\nret", "hf_secret\u{0}", "hf_sécret", "hf_\u{7f}"] {
        let options = ClientOptions { token: Some(secret.to_owned()), ..ClientOptions::default() };
        let error = resolve(&options, &[]).unwrap_err();
        assert_eq!(error.context().field.as_deref(), Some("options.token"));
        assert!(!format!("{error:?}").contains(secret), "{error:?}");
    }
    assert_eq!(field(unusable(&[("HF_TOKEN", "a b")])), "HF_TOKEN");
}

/// Nothing that prints a token, or a whole configuration, shows it.
#[test]
fn a_token_is_never_shown() {
    let config = from_environment(&[("HF_TOKEN", "hf_secret")]);
    let token = config.token.clone().unwrap();
    for shown in [format!("{config:?}"), format!("{token}"), format!("{:?}", token.bearer())] {
        assert!(!shown.contains("secret"), "{shown}");
    }
    assert_eq!(token.redact("bad token hf_secret!"), "bad token [token]!");
}

/// Caches are where the variables say, in their order, with `~` and variables expanded.
#[test]
fn caches_are_found_in_order() {
    for (variables, hub, xet) in [
        (&[("HF_HOME", "~/hf")][..], "/home/ada/hf/hub", "/home/ada/hf/xet"),
        (&[("XDG_CACHE_HOME", "/c")][..], "/c/huggingface/hub", "/c/huggingface/xet"),
        (
            &[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_XET_CACHE", "/x")][..],
            "/old",
            "/x",
        ),
        (
            &[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")][..],
            "/new",
            "/hf/xet",
        ),
        (&[("HF_HOME", "/${A}/$A-$B/$"), ("A", "x")][..], "/x/x-$B/$/hub", "/x/x-$B/$/xet"),
        (&[("HF_HOME", "/${A"), ("A", "x")][..], "/${A/hub", "/${A/xet"),
        (&[("HF_HOME", "~")][..], "/home/ada/hub", "/home/ada/xet"),
        (&[("HF_HOME", "/~/a")][..], "/~/a/hub", "/~/a/xet"),
    ] {
        let config = from_environment(variables);
        assert_eq!(config.hub_cache, PathBuf::from(hub), "{variables:?}");
        assert_eq!(config.xet_cache, PathBuf::from(xet), "{variables:?}");
    }
    let options =
        ClientOptions { cache_dir: Some(PathBuf::from("/mine")), ..ClientOptions::default() };
    let config = resolve(&options, &[("HF_HUB_CACHE", "/new")]).unwrap();
    assert_eq!(config.hub_cache, PathBuf::from("/mine"));
    let relative =
        ClientOptions { cache_dir: Some(PathBuf::from("cache")), ..ClientOptions::default() };
    assert!(resolve(&relative, &[]).unwrap().hub_cache.is_absolute());
    let empty = ClientOptions { cache_dir: Some(PathBuf::new()), ..ClientOptions::default() };
    assert_eq!(field(resolve(&empty, &[])), "options.cache_dir");
}

/// An account without a home folder needs none if it says where things are; otherwise it hears how.
#[test]
fn no_home_is_needed() {
    let of = |options: &ClientOptions, variables: &[(&str, &str)]| {
        Config::resolve_in(options, &Environment::of(variables.iter().copied()))
    };
    assert_eq!(field(of(&ClientOptions::default(), &[])), "HF_HOME");
    let mine =
        ClientOptions { cache_dir: Some(PathBuf::from("/data/hub")), ..ClientOptions::default() };
    for (options, variables, xet) in [
        (&mine, &[][..], "/data/xet"),
        (&mine, &[("HF_XET_CACHE", "/x")][..], "/x"),
        (&mine, &[("HF_HOME", "/hf")][..], "/hf/xet"),
        (&ClientOptions::default(), &[("HF_HUB_CACHE", "/data/hub")][..], "/data/xet"),
    ] {
        let config = of(options, variables).unwrap();
        assert_eq!(config.hub_cache, PathBuf::from("/data/hub"));
        assert_eq!(config.xet_cache, PathBuf::from(xet), "{variables:?}");
        assert_eq!(config.token, None);
    }
    let signed_in = of(&mine, &[("HF_TOKEN", "hf_x")]).unwrap();
    assert_eq!(signed_in.token.as_ref().map(Token::source), Some("HF_TOKEN"));
}

/// Of a path that the caller gives, only `~` is expanded.
#[test]
fn a_tilde_is_the_home_folder() {
    let ada = Environment::of([HOME]);
    for (given, path) in [
        ("~", "/home/ada"),
        ("~/x", "/home/ada/x"),
        ("~//x", "/home/ada/x"),
        ("~bob/x", "~bob/x"),
        ("/~/x", "/~/x"),
        ("x~", "x~"),
        ("~/$HOME", "/home/ada/$HOME"),
        ("", ""),
    ] {
        assert_eq!(ada.user_path("p", given).unwrap(), PathBuf::from(path), "{given}");
    }
    let nobody = Environment::of([("USER", "nobody")]);
    assert_eq!(field(nobody.user_path("options.local_dir", "~/x")), "options.local_dir");
    assert_eq!(nobody.user_path("p", "x").unwrap(), PathBuf::from("x"));
}

/// A switch is on for 1, on, yes and true in any case, and off for all else; `HF_HUB_OFFLINE=0`
/// overrules its older name.
#[test]
fn switches_are_read() {
    for (value, on) in [
        ("1", true),
        ("on", true),
        ("Yes", true),
        ("TRUE", true),
        ("0", false),
        ("false", false),
        ("2", false),
        ("", false),
    ] {
        let config = from_environment(&[("HF_HUB_DISABLE_SYMLINKS", value)]);
        assert_eq!(config.disable_symlinks, on, "{value}");
    }
    let older = ("TRANSFORMERS_OFFLINE", "1");
    assert!(from_environment(&[older]).offline);
    assert!(!from_environment(&[older, ("HF_HUB_OFFLINE", "0")]).offline);
    let options = ClientOptions { offline: true, ..ClientOptions::default() };
    assert!(resolve(&options, &[("HF_HUB_OFFLINE", "0")]).unwrap().offline);
}

/// The transport is the caller's, else our variable's, else that of huggingface_hub's switch.
#[test]
fn the_transport_is_found_in_order() {
    let of = |variables: &[(&str, &str)]| from_environment(variables).transport;
    let off = ("HF_HUB_DISABLE_XET", "1");
    assert_eq!(of(&[]), Transport::Auto);
    assert_eq!(of(&[off]), Transport::Http);
    assert_eq!(of(&[("HF_HUB_DISABLE_XET", "0")]), Transport::Auto);
    for (text, transport) in [
        ("auto", Transport::Auto),
        ("xet", Transport::Xet),
        ("http", Transport::Http),
        (" HTTP\n", Transport::Http),
    ] {
        assert_eq!(of(&[("XET_FFI_TRANSPORT", text)]), transport, "{text:?}");
        assert_eq!(of(&[("XET_FFI_TRANSPORT", text), off]), transport, "{text:?}");
    }
    assert_eq!(of(&[("XET_FFI_TRANSPORT", ""), off]), Transport::Http, "empty is unset");
    let options = ClientOptions { transport: Some(Transport::Auto), ..ClientOptions::default() };
    let overruled = [("XET_FFI_TRANSPORT", "xet"), off];
    assert_eq!(resolve(&options, &overruled).unwrap().transport, Transport::Auto);
}

/// A transport that doesn't exist is refused, with its variable and what there is.
#[test]
fn an_unknown_transport_is_refused() {
    for text in ["1", "xet,http", "https", " "] {
        let variables = [("XET_FFI_TRANSPORT", text)];
        let error = resolve(&ClientOptions::default(), &variables).unwrap_err();
        assert_eq!(error.context().field.as_deref(), Some("XET_FFI_TRANSPORT"));
        assert!(error.message().contains("auto, xet and http"), "{error}");
    }
}

/// Timeouts are whole seconds, 0 means the default, the caller's beats the variable, and nonsense
/// names its variable.
#[test]
fn timeouts_are_read() {
    let config =
        from_environment(&[("HF_HUB_DOWNLOAD_TIMEOUT", "30"), ("HF_HUB_ETAG_TIMEOUT", "3")]);
    let (stall, first_byte) = (config.deadlines.stall, config.deadlines.first_byte);
    assert_eq!((stall, first_byte), (Duration::from_secs(30), Duration::from_secs(30)));
    assert_eq!(config.etag_timeout, Duration::from_secs(3));
    let config = from_environment(&[("HF_HUB_DOWNLOAD_TIMEOUT", "0")]);
    assert_eq!(config.deadlines, Deadlines::DEFAULT);
    let read_timeout = Some(Duration::from_millis(200));
    let options = ClientOptions {
        deadlines: DeadlineOptions { read_timeout, ..DeadlineOptions::default() },
        ..ClientOptions::default()
    };
    let config = resolve(&options, &[("HF_HUB_DOWNLOAD_TIMEOUT", "30")]).unwrap();
    assert_eq!(config.deadlines.stall, Duration::from_millis(200));
    for name in ["HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"] {
        for text in ["1.5", "-1", "soon", "99999999999"] {
            assert_eq!(field(unusable(&[(name, text)])), name, "{text}");
        }
    }
    assert_eq!(field(unusable(&[("HF_HUB_DOWNLOAD_TIMEOUT", "86400")])), "HF_HUB_DOWNLOAD_TIMEOUT");
}

/// An option out of its range is refused by its name.
#[test]
fn options_out_of_range_are_refused() {
    let defaults = ClientOptions::default;
    let day = Duration::from_hours(24);
    let connect = |limit| DeadlineOptions { connect_timeout: Some(limit), ..Default::default() };
    for (options, name) in [
        (
            ClientOptions { max_concurrent_downloads: Some(0), ..defaults() },
            "max_concurrent_downloads",
        ),
        (
            ClientOptions { max_concurrent_downloads: Some(257), ..defaults() },
            "max_concurrent_downloads",
        ),
        (ClientOptions { max_attempts: Some(0), ..defaults() }, "max_attempts"),
        (ClientOptions { max_attempts: Some(21), ..defaults() }, "max_attempts"),
        (ClientOptions { deadlines: connect(Duration::ZERO), ..defaults() }, "connect_timeout"),
        (ClientOptions { deadlines: connect(day), ..defaults() }, "connect_timeout"),
        (ClientOptions { max_bytes_per_second: Some(0), ..defaults() }, "max_bytes_per_second"),
        (ClientOptions { user_agent: Some("a\r\nX: y".to_owned()), ..defaults() }, "user_agent"),
    ] {
        assert_eq!(field(resolve(&options, &[])), format!("options.{name}"));
    }
    let most = ClientOptions {
        max_concurrent_downloads: Some(256),
        max_attempts: Some(20),
        ..ClientOptions::default()
    };
    assert!(resolve(&most, &[]).is_ok());
}

/// The User-Agent begins with the caller's, names us, and says less where telemetry is off.
#[test]
fn the_user_agent_is_assembled() {
    let options =
        ClientOptions { user_agent: Some("my-app/1.2 ".to_owned()), ..ClientOptions::default() };
    let us = concat!("xet-ffi/", env!("CARGO_PKG_VERSION"));
    let agent = resolve(&options, &[("HF_HUB_USER_AGENT_ORIGIN", "lab")]).unwrap().user_agent;
    assert!(agent.starts_with(&format!("my-app/1.2; {us}; os/")), "{agent}");
    assert!(agent.ends_with("; origin/lab"), "{agent}");
    for name in ["HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK"] {
        assert_eq!(from_environment(&[(name, "1")]).user_agent, us);
    }
}

/// Below a gateway's path, the Hub's own places are found again; the gateway's others, and strangers',
/// stay where they are.
#[test]
fn the_hubs_places_are_below_a_gateways_path() {
    let gateway = Endpoint::parse("endpoint", "https://gate.example/hf/").unwrap();
    for (url, expected) in [
        ("https://gate.example/api/models/a?b=c", "https://gate.example/hf/api/models/a?b=c"),
        ("https://gate.example/a/b/resolve/main/c", "https://gate.example/hf/a/b/resolve/main/c"),
        ("https://gate.example/hf/api/models/a", "https://gate.example/hf/api/models/a"),
        ("https://gate.example/storage/x?sig=1", "https://gate.example/storage/x?sig=1"),
        ("https://cdn.example/api/models/a", "https://cdn.example/api/models/a"),
    ] {
        assert_eq!(gateway.below(Url::parse(url).unwrap()).as_str(), expected);
    }
    let hub = Endpoint::parse("endpoint", "https://hub.example").unwrap();
    let url = Url::parse("https://hub.example/api/models/a").unwrap();
    assert_eq!(hub.below(url.clone()), url);
}

/// What a variable says doesn't matter where something else is said in its place.
#[test]
fn what_is_overruled_needs_no_sense() {
    let deadlines = DeadlineOptions {
        read_timeout: Some(Duration::from_secs(9)),
        ..DeadlineOptions::default()
    };
    let options = ClientOptions {
        deadlines,
        endpoint: Some("http://hub.example".into()),
        token: Some("hf_own".into()),
        ..ClientOptions::default()
    };
    let variables = [
        ("HF_HUB_DOWNLOAD_TIMEOUT", "soon"),
        ("HF_ENDPOINT", "hub"),
        ("HF_TOKEN", "a b"),
        ("HTTP_PROXY", "http://proxy.example"),
        ("HTTPS_PROXY", "http://proxy.example"),
        ("ALL_PROXY", "::::"),
    ];
    let config = resolve(&options, &variables).unwrap();
    assert!(config.unusable.is_none(), "{:?}", config.unusable);
    assert_eq!(config.deadlines.stall, Duration::from_secs(9));
}

/// The environment's settings that only requests need are theirs to refuse, the first one by name; the caller's
/// own aren't, beside one that is put off, either.
#[test]
fn what_only_requests_need_is_put_off() {
    for (name, value) in [
        ("ALL_PROXY", "::::"),
        ("http_proxy", " "),
        ("HF_TOKEN", "a b"),
        ("HF_ENDPOINT", "hub"),
        ("HF_HUB_USER_AGENT_ORIGIN", "a\nb"),
        ("HF_HUB_ETAG_TIMEOUT", "soon"),
        ("HF_HUB_DOWNLOAD_TIMEOUT", "soon"),
    ] {
        assert_eq!(field(unusable(&[(name, value)])), name);
        assert_eq!(field(unusable(&[("HF_TOKEN", "c d"), (name, value)])), "HF_TOKEN");
        let options = ClientOptions { max_attempts: Some(99), ..ClientOptions::default() };
        assert_eq!(field(resolve(&options, &[(name, value)])), "options.max_attempts");
    }
    assert!(unusable(&[]).is_ok());
}
