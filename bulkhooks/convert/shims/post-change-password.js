  const globals = {};

  const given = (event) => {
    const { user, context } = copy({
      user: {
        id: event.user.user_id?.replace(/^[^|]*\|/, ""), // without the connection before it
        username: event.user.username,
        email: event.user.email,
        last_password_reset: event.user.last_password_reset,
      },
      context: {
        requestLanguage: event.request?.language,
        request: event.request,
        connection: { ...event.connection, tenant: event.tenant?.id },
        webtask: { secrets: event.secrets ?? {} },
      },
    });
    return [user, context];
  };

  // Nobody waits for it: what it answers means nothing, and an error goes to the tenant's logs.
  const taken = () => undefined;
  const finish = ({ error }) => {
    if (error) throw error;
  };
