package omecompat

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"

	"github.com/spf13/viper"
)

// What WithDefaults fills in, and NewClient(nil) means.
const (
	DefaultHFEndpoint             = "https://huggingface.co"
	DefaultHFCacheDir             = "/tmp/.cache/huggingface"
	DefaultMaxConcurrentDownloads = 4
	DefaultLogLevel               = "info"
)

// RepoTypeModel is the RepoType of models.
const RepoTypeModel = "model"

// Config is the configuration of a client.
type Config struct {
	// Logger gets the library's logs, in the whole process. Nil: whoever got them before; at first,
	// stderr.
	Logger Logger `mapstructure:"-" json:"-"`
	// Endpoint is the address of the Hub.
	Endpoint string `mapstructure:"endpoint"`
	// Token is a user access token; empty: none is sent, whatever the environment holds. It is left out
	// wherever a Config is printed.
	Token string `mapstructure:"hf_token" json:"-"`
	// CacheDir is the root of the Hub cache, huggingface_hub's layout.
	CacheDir string `mapstructure:"cache_dir"`
	// MaxConcurrentDownloads is the number of large files in flight at a time. More than 256 are 256.
	MaxConcurrentDownloads uint32 `mapstructure:"max_concurrent_downloads"`
	// EnableDedup lets Xet files come over Xet, and over plain HTTP where that fails, or as
	// XET_FFI_TRANSPORT says. Without it, they come over plain HTTP.
	EnableDedup bool `mapstructure:"enable_dedup"`
	// LogLevel is that of SetLogLevel; empty: as it was. At first, it is "warn".
	LogLevel string `mapstructure:"log_level"`
	// EnableProgressReporting has Module call EnableConsoleProgress.
	EnableProgressReporting bool `mapstructure:"enable_progress_reporting"`
}

// Option sets something in a Config.
type Option func(*Config) error

// Apply applies options in their order, up to the first that fails. Nil is no option.
func (c *Config) Apply(opts ...Option) error {
	for _, option := range opts {
		if option == nil {
			continue
		}
		if err := option(c); err != nil {
			return err
		}
	}
	return nil
}

// NewConfig makes a configuration of options.
func NewConfig(opts ...Option) (*Config, error) {
	config := &Config{}
	if err := config.Apply(opts...); err != nil {
		return nil, err
	}
	return config, nil
}

func defaults() *Config {
	return &Config{
		Endpoint:               DefaultHFEndpoint,
		CacheDir:               DefaultHFCacheDir,
		MaxConcurrentDownloads: DefaultMaxConcurrentDownloads,
		EnableDedup:            true,
		LogLevel:               DefaultLogLevel,
	}
}

// WithDefaults fills in what is empty, but for flags: EnableDedup stays false.
func WithDefaults() Option {
	return func(c *Config) error {
		fallback := defaults()
		c.Endpoint = or(c.Endpoint, fallback.Endpoint)
		c.CacheDir = or(c.CacheDir, fallback.CacheDir)
		c.MaxConcurrentDownloads = or(c.MaxConcurrentDownloads, fallback.MaxConcurrentDownloads)
		c.LogLevel = or(c.LogLevel, fallback.LogLevel)
		return nil
	}
}

func or[T comparable](value, fallback T) T {
	var none T
	if value == none {
		return fallback
	}
	return value
}

// WithViper takes what viper has: "endpoint", "hf_token", "cache_dir", "max_concurrent_downloads",
// "enable_dedup", "log_level" and "enable_progress_reporting", also from environment variables of these
// names in capitals, such as HF_TOKEN.
func WithViper(v *viper.Viper) Option {
	return func(c *Config) error {
		for _, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
			key := field.Tag.Get("mapstructure")
			if key == "-" {
				continue
			}
			if err := v.BindEnv(key); err != nil {
				return fmt.Errorf("binding %s to the environment: %w", key, err)
			}
		}
		if err := v.Unmarshal(c); err != nil {
			return fmt.Errorf("reading the configuration of the Hub client: %w", err)
		}
		return nil
	}
}

// WithLogger sets Logger.
func WithLogger(logger Logger) Option {
	return func(c *Config) error {
		if logger == nil {
			return errors.New("invalid logger: it is nil")
		}
		c.Logger = logger
		return nil
	}
}

// WithEnableProgressReporting sets EnableProgressReporting.
func WithEnableProgressReporting(enableProgressReporting bool) Option {
	return func(c *Config) error {
		c.EnableProgressReporting = enableProgressReporting
		return nil
	}
}

// Validate says whether Endpoint and MaxConcurrentDownloads are given.
func (c *Config) Validate() error {
	switch {
	case c.Endpoint == "":
		return errors.New("config validation failed: Endpoint is required: use WithDefaults, or set endpoint")
	case c.MaxConcurrentDownloads == 0:
		return errors.New("config validation failed: MaxConcurrentDownloads must be positive: " +
			"use WithDefaults, or set max_concurrent_downloads")
	}
	return nil
}

// ToDownloadConfig returns a DownloadConfig for models at main, with the endpoint, the cache, the token and
// the logs of this one.
func (c *Config) ToDownloadConfig() *DownloadConfig {
	return &DownloadConfig{
		RepoType:   RepoTypeModel,
		Revision:   "main",
		CacheDir:   c.CacheDir,
		Endpoint:   c.Endpoint,
		Token:      c.Token,
		MaxWorkers: int(c.MaxConcurrentDownloads),
		LogLevel:   c.LogLevel,
		logger:     c.Logger,
	}
}

// String prints the configuration without the token.
func (c Config) String() string {
	type plain Config // without String, which would call itself
	c.Token = redacted(c.Token)
	return fmt.Sprintf("%+v", plain(c))
}

// GoString prints the configuration without the token.
func (c Config) GoString() string { return "omecompat.Config" + c.String() }

// LogValue logs the configuration without the token.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// redacted says whether there is a token, and no more.
func redacted(token string) string {
	if token == "" {
		return ""
	}
	return "***"
}
