package omecompat

import (
	"context"
	"time"

	"github.com/spf13/viper"
	"go.uber.org/fx"
	"go.uber.org/zap"
)

// HubParams is what Module asks for besides *viper.Viper.
type HubParams struct {
	fx.In

	// Logger gets the library's logs. OME's logging.ModuleNamed("another_log") provides it.
	Logger *zap.Logger `name:"another_log" optional:"true"`
}

// WithAppParams takes the logger that was injected, if there is one.
func WithAppParams(params HubParams) Option {
	return func(c *Config) error {
		if params.Logger != nil {
			c.Logger = params.Logger.Sugar()
		}
		return nil
	}
}

// consoleThrottle is the time between two lines of a client that Module has made.
const consoleThrottle = 250 * time.Millisecond

// Module provides a *Client to who asks for one, with the configuration of WithViper and WithDefaults, and
// closes it when the application stops.
var Module = fx.Options(fx.Provide(provide))

func provide(lifecycle fx.Lifecycle, v *viper.Viper, params HubParams) (*Client, error) {
	config, err := NewConfig(WithViper(v), WithAppParams(params), WithDefaults())
	if err != nil {
		return nil, err
	}
	client, err := NewClient(config)
	if err != nil {
		return nil, err
	}
	if config.EnableProgressReporting {
		if err := client.EnableConsoleProgress("direct", consoleThrottle); err != nil {
			return nil, err
		}
	}
	lifecycle.Append(fx.Hook{OnStop: func(context.Context) error { return client.Close() }})
	return client, nil
}
