module peerdiscovery.dev/lab/clients

go 1.26.0

// Each release has its own *.mod file: go build -modfile=v0.36.mod
