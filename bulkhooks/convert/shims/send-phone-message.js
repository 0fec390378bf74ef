  const globals = {};

  const given = (event) => {
    const { recipient, text, context } = copy({
      recipient: event.message_options.recipient,
      text: event.message_options.text,
      context: {
        message_type: event.message_options.message_type,
        action: event.message_options.action,
        language: event.request?.language,
        code: event.message_options.code,
        ip: event.request?.ip,
        user_agent: event.request?.user_agent,
        clientID: event.client?.client_id,
        requestLanguage: event.request?.language,
        request: event.request,
        client: {
          client_id: event.client?.client_id,
          name: event.client?.name,
          client_metadata: event.client?.metadata,
        },
        user: {
          user_id: event.user?.user_id,
          name: event.user?.name,
          email: event.user?.email,
          app_metadata: event.user?.app_metadata,
          user_metadata: event.user?.user_metadata,
        },
        webtask: { secrets: event.secrets ?? {} },
      },
    });
    return [recipient, text, context];
  };

  // What it answers means nothing; an error says that no message went out.
  const taken = () => undefined;
  const finish = ({ error }) => {
    if (error) throw error;
  };
