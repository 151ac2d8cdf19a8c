/** Version of this program; `make check` holds it against package.json. */
export const version = '0.1.0';
