/** Version of this program; `make check` compares it with package.json. */
export const version = '0.1.0';
