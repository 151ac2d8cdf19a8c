module peerdiscovery.dev/lab/merge-oracle

go 1.25.0

// Each release has its own *.mod file: go build -modfile=v0.36.mod
