module github.com/xet-ffi/xet-ffi/go/omecompat

go 1.24.0

require (
	github.com/spf13/viper v1.19.0
	github.com/xet-ffi/xet-ffi/go v0.1.0
	go.uber.org/fx v1.22.2
	go.uber.org/zap v1.27.0
)

require (
	github.com/fsnotify/fsnotify v1.7.0 // indirect
	github.com/hashicorp/hcl v1.0.0 // indirect
	github.com/magiconair/properties v1.8.7 // indirect
	github.com/mitchellh/mapstructure v1.5.0 // indirect
	github.com/pelletier/go-toml/v2 v2.2.2 // indirect
	github.com/sagikazarmark/locafero v0.4.0 // indirect
	github.com/sagikazarmark/slog-shim v0.1.0 // indirect
	github.com/sourcegraph/conc v0.3.0 // indirect
	github.com/spf13/afero v1.11.0 // indirect
	github.com/spf13/cast v1.6.0 // indirect
	github.com/spf13/pflag v1.0.5 // indirect
	github.com/subosito/gotenv v1.6.0 // indirect
	github.com/xet-ffi/xet-ffi/go/lib/linux-amd64 v0.1.0 // indirect
	github.com/xet-ffi/xet-ffi/go/lib/linux-arm64 v0.1.0 // indirect
	go.uber.org/dig v1.18.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	golang.org/x/exp v0.0.0-20230905200255-921286631fa9 // indirect
	golang.org/x/sys v0.18.0 // indirect
	golang.org/x/text v0.14.0 // indirect
	gopkg.in/ini.v1 v1.67.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)

// In this repository they are beside it; who requires this module gets the published ones.
replace (
	github.com/xet-ffi/xet-ffi/go => ../
	github.com/xet-ffi/xet-ffi/go/lib/linux-amd64 => ../lib/linux-amd64
	github.com/xet-ffi/xet-ffi/go/lib/linux-arm64 => ../lib/linux-arm64
)
