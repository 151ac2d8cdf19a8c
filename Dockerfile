# The file system is the one that the end-to-end tests run: Node, the libraries it links to, the program and its locked
# dependencies; no shell, no package manager. Build: docker build -t localhost/peerdiscovery:0.1.0 .
FROM node:26-trixie AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-progress
COPY . .
RUN node scripts/build-rootfs.ts /rootfs

FROM scratch
COPY --from=build /rootfs /
USER 65532:65532
ENTRYPOINT ["/usr/bin/node", "--max-semi-space-size=8", "/app/dist/bin/peerdiscovery.js"]
