"""Leads connections to a port on loopback, and ends TLS for it if there is a certificate.

Usage: relay.py ADDRESS PORT TARGET_PORT [CERTIFICATE KEY]
"""

import asyncio
import ssl
import sys


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main():
    address, port, target, *files = sys.argv[1:]
    context = None
    if files:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)

    async def serve(reader, writer):
        plain = await asyncio.open_connection("127.0.0.1", int(target))
        await asyncio.gather(copy(reader, plain[1]), copy(plain[0], writer))

    server = await asyncio.start_server(serve, address, int(port), ssl=context)
    await server.serve_forever()


asyncio.run(main())
